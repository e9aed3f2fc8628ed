//! What each constellation of facts is called: a table of cases, without a query.

use headwater_core::{ErrorKind, OutputMode, Trigger};
use headwater_log::WatermarkPolicy;
use headwater_plan::Withheld;

use super::{
    Activity, DiagnosisFacts, InputEpoch, NextEnd, OperatorStanding, OutputEpoch, RecentWork, Rise,
    SourceStanding, WatermarkStanding, diagnose,
};

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// Twelve o'clock on a Sunday.
const NOON: i64 = 1_000_036_800_000;

fn source(name: &str) -> SourceStanding {
    SourceStanding {
        description: name.to_owned(),
        rows: 7,
        recent_rows: 7,
        last_rows_millis: Some(NOON),
        ..SourceStanding::default()
    }
}

/// A watermark of half a minute on source `number`, whose newest event time is so far behind noon.
fn watermark(number: usize, behind: i64) -> WatermarkStanding {
    let newest = NOON - behind;
    WatermarkStanding {
        id: format!("watermark-1.{number}"),
        column: "ts".to_owned(),
        sources: vec![number],
        delay_millis: 30_000,
        newest_millis: Some(newest),
        watermark_millis: newest - 30_000,
        rise: Some(Rise {
            epoch: 3,
            before_millis: None,
            mean_millis: newest - 1_000,
        }),
        recent: Some((newest - 2_000, newest)),
        recent_rows: 7,
        recent_nulls: 0,
    }
}

fn silent(number: usize) -> WatermarkStanding {
    WatermarkStanding {
        newest_millis: None,
        watermark_millis: 0,
        rise: None,
        recent: None,
        recent_rows: 0,
        ..watermark(number, 0)
    }
}

fn operator(kind: &str, withholds: Withheld) -> OperatorStanding {
    OperatorStanding {
        id: format!("{kind}-0"),
        kind: kind.to_owned(),
        withholds,
        grows: Vec::new(),
        rows: Some(5),
        memory_bytes: 640,
        late_rows: 0,
        recent: RecentWork {
            updated: 5,
            ..RecentWork::default()
        },
        next: None,
        is_exhausted: false,
    }
}

/// Windows of ten minutes, of which the first ends so long after noon.
fn windows(end: i64) -> OperatorStanding {
    OperatorStanding {
        next: Some(NextEnd {
            at_millis: NOON + end,
            needs_millis: NOON + end,
        }),
        ..operator("aggregate", Withheld::Windows(10 * MINUTE))
    }
}

fn idle_operator(kind: &str) -> OperatorStanding {
    OperatorStanding {
        recent: RecentWork::default(),
        ..operator(kind, Withheld::Nothing)
    }
}

/// A query that has read seven rows a minute ago and waits.
pub(crate) fn facts() -> DiagnosisFacts {
    DiagnosisFacts {
        query: "query 'q'".to_owned(),
        asked_millis: NOON + MINUTE,
        started_millis: NOON - HOUR,
        activity: Activity::Waiting {
            since_millis: NOON + 1_000,
        },
        trigger: Trigger::Default,
        next_tick_millis: None,
        mode: OutputMode::Append,
        watermark_policy: WatermarkPolicy::Min,
        no_data_epochs: true,
        has_checkpoint: true,
        next_epoch: 4,
        epochs: 4,
        rows_read: 7,
        rows_out: 0,
        is_caught_up: true,
        watermark_millis: None,
        sources: vec![source("A")],
        watermarks: Vec::new(),
        operators: Vec::new(),
        last_input: Some(InputEpoch {
            epoch: 3,
            at_millis: NOON,
            rows: 7,
            late_watermark_millis: NOON - HOUR,
            rows_out: 0,
        }),
        last_output: None,
    }
}

/// As [`facts`], with a watermark on each of these inputs.
fn with_watermarks(watermarks: Vec<WatermarkStanding>) -> DiagnosisFacts {
    let lowest = watermarks.iter().map(|it| it.watermark_millis).min();
    DiagnosisFacts {
        watermark_millis: lowest,
        sources: ["A", "B"][..watermarks.len()]
            .iter()
            .map(|name| source(name))
            .collect(),
        watermarks,
        ..facts()
    }
}

/// Windows over one input that is so far behind noon.
fn windowed(behind: i64, operator: OperatorStanding) -> DiagnosisFacts {
    DiagnosisFacts {
        operators: vec![operator],
        ..with_watermarks(vec![watermark(0, behind)])
    }
}

/// Rows of an hour ago, after one from a year ahead.
fn late(recent: RecentWork) -> DiagnosisFacts {
    let ahead = WatermarkStanding {
        newest_millis: Some(NOON + 365 * 24 * HOUR),
        watermark_millis: NOON + 365 * 24 * HOUR - 30_000,
        rise: Some(Rise {
            epoch: 2,
            before_millis: Some(NOON - HOUR),
            mean_millis: NOON - HOUR,
        }),
        recent: Some((NOON - HOUR, NOON)),
        ..watermark(0, 0)
    };
    DiagnosisFacts {
        watermark_millis: Some(ahead.watermark_millis),
        watermarks: vec![ahead],
        operators: vec![OperatorStanding {
            recent,
            ..operator("aggregate", Withheld::Windows(10 * MINUTE))
        }],
        ..facts()
    }
}

const NO_INPUT: &str = "no new input: nothing from A since 2001-09-09T12:00:00Z";

#[test]
fn each_constellation_has_its_causes() {
    let union = |b: WatermarkStanding, policy| DiagnosisFacts {
        watermark_policy: policy,
        operators: vec![windows(0)],
        ..with_watermarks(vec![watermark(0, -HOUR), b])
    };
    let cases: Vec<(&str, DiagnosisFacts, &[&str])> = vec![
        (
            "a failure says what to do",
            DiagnosisFacts {
                activity: Activity::Failed {
                    kind: ErrorKind::Unavailable,
                    message: "query 'q', epoch 4: the broker does not answer".to_owned(),
                },
                ..facts()
            },
            &[
                "the query has failed: query 'q', epoch 4: the broker does not answer (the cause may pass, but nothing \
                 is tried again by itself; started again on its checkpoint, the query goes on with epoch 4 and loses \
                 nothing)",
            ],
        ),
        (
            "a failure without a checkpoint",
            DiagnosisFacts {
                activity: Activity::Failed {
                    kind: ErrorKind::Data,
                    message: "bad row".to_owned(),
                },
                has_checkpoint: false,
                ..facts()
            },
            &[
                "the query has failed: bad row (input or stored bytes are not what they claim to be; without a \
                 checkpoint, a restart begins from scratch)",
            ],
        ),
        (
            "the end",
            DiagnosisFacts {
                activity: Activity::Stopped,
                ..facts()
            },
            &["the query has ended"],
        ),
        (
            "a long epoch",
            DiagnosisFacts {
                activity: Activity::Running {
                    since_millis: NOON,
                    phase: "publish".to_owned(),
                    phase_since_millis: NOON + 20_000,
                },
                is_caught_up: false,
                ..windowed(0, windows(HOUR))
            },
            &[
                "epoch 4 has been running for 1 min, for 40 s of it publishing to the sink",
                "the window 2001-09-09T12:50:00Z – 2001-09-09T13:00:00Z of aggregate-0 closes when the watermark, now \
                 2001-09-09T11:59:30Z, reaches 2001-09-09T13:00:00Z: 'ts' of A must reach 2001-09-09T13:00:30Z (the \
                 newest so far is 2001-09-09T12:00:00Z, 1 h to go)",
            ],
        ),
        (
            "an open window",
            windowed(0, windows(10 * MINUTE)),
            &[
                "the window 2001-09-09T12:00:00Z – 2001-09-09T12:10:00Z of aggregate-0 closes when the watermark, now \
                 2001-09-09T11:59:30Z, reaches 2001-09-09T12:10:00Z: 'ts' of A must reach 2001-09-09T12:10:30Z (the \
                 newest so far is 2001-09-09T12:00:00Z, 10 min 30 s to go)",
                NO_INPUT,
            ],
        ),
        (
            "a window that the watermark has passed, without epochs without data",
            DiagnosisFacts {
                no_data_epochs: false,
                ..windowed(-MINUTE, windows(0))
            },
            &[
                "the watermark has passed the window 2001-09-09T11:50:00Z – 2001-09-09T12:00:00Z of aggregate-0, and it \
                 comes out with the next rows: there are no epochs without data",
                NO_INPUT,
            ],
        ),
        (
            "a silent input",
            union(silent(1), WatermarkPolicy::Min),
            &[
                "the slowest input holds the watermark at 1970-01-01T00:00:00Z: 'ts' of B has given no row in this run; \
                 without it, the watermark would be 2001-09-09T12:59:30Z",
                "the window 2001-09-09T11:50:00Z – 2001-09-09T12:00:00Z of aggregate-0 closes when the watermark, now \
                 1970-01-01T00:00:00Z, reaches 2001-09-09T12:00:00Z: 'ts' of B must reach 2001-09-09T12:00:30Z (no row \
                 so far)",
                "no new input: nothing from A since 2001-09-09T12:00:00Z and B since 2001-09-09T12:00:00Z",
            ],
        ),
        (
            "a slow input",
            union(watermark(1, HOUR), WatermarkPolicy::Min),
            &[
                "the slowest input holds the watermark at 2001-09-09T10:59:30Z: 'ts' of B is 2 h behind, its newest \
                 event time is 2001-09-09T11:00:00Z; without it, the watermark would be 2001-09-09T12:59:30Z",
                "the window 2001-09-09T11:50:00Z – 2001-09-09T12:00:00Z of aggregate-0 closes when the watermark, now \
                 2001-09-09T10:59:30Z, reaches 2001-09-09T12:00:00Z: 'ts' of B must reach 2001-09-09T12:00:30Z (the \
                 newest so far is 2001-09-09T11:00:00Z, 1 h to go)",
                "no new input: nothing from A since 2001-09-09T12:00:00Z and B since 2001-09-09T12:00:00Z",
            ],
        ),
        (
            "nobody waits for a slow input in update mode",
            DiagnosisFacts {
                operators: vec![OperatorStanding {
                    withholds: Withheld::Nothing,
                    ..windows(0)
                }],
                last_output: Some(OutputEpoch {
                    epoch: 3,
                    at_millis: NOON,
                    rows: 2,
                }),
                last_input: Some(InputEpoch {
                    rows_out: 2,
                    ..facts().last_input.unwrap()
                }),
                ..union(silent(1), WatermarkPolicy::Min)
            },
            &[
                "rows do come out: 2 rows in epoch 3 at 2001-09-09T12:00:00Z",
                "no new input: nothing from A since 2001-09-09T12:00:00Z and B since 2001-09-09T12:00:00Z",
            ],
        ),
        (
            "rows behind a watermark that one row from the future pushed",
            late(RecentWork {
                late: 7,
                ..RecentWork::default()
            }),
            &[
                "aggregate-0 dropped 7 rows as late of 7 read: the watermark was 2001-09-09T11:00:00Z, their newest \
                 event time 2001-09-09T12:00:00Z; it follows 'ts' of A, whose newest event time 2002-09-09T12:00:00Z \
                 came in epoch 2 (the newest before was 2001-09-09T11:00:00Z) and lies 364 d 23 h in the future",
                NO_INPUT,
            ],
        ),
        (
            "a few late rows are no cause",
            late(RecentWork {
                late: 1,
                updated: 4,
                ..RecentWork::default()
            }),
            &[NO_INPUT],
        ),
        (
            "a filter without operators",
            facts(),
            &[
                "none of the last 7 rows read got past the conditions of the query to the sink",
                NO_INPUT,
            ],
        ),
        (
            "a filter in front of the first operator",
            DiagnosisFacts {
                operators: vec![idle_operator("session"), idle_operator("aggregate")],
                ..facts()
            },
            &[
                "none of the last 7 rows read got past the conditions of the query to aggregate-0",
                NO_INPUT,
            ],
        ),
        (
            "user code may leave state as it is",
            DiagnosisFacts {
                operators: vec![idle_operator("transform_with_state")],
                ..facts()
            },
            &[NO_INPUT],
        ),
        (
            "a filter behind the operator",
            DiagnosisFacts {
                operators: vec![operator("aggregate", Withheld::Nothing)],
                ..facts()
            },
            &[
                "aggregate-0 gave out rows, but none got past the conditions behind it to the sink",
                NO_INPUT,
            ],
        ),
        (
            "rows without an event time",
            DiagnosisFacts {
                operators: vec![idle_operator("aggregate")],
                ..with_watermarks(vec![WatermarkStanding {
                    recent_nulls: 7,
                    ..silent(0)
                }])
            },
            &[
                "the event time 'ts' of A was null in all of the last 7 rows",
                NO_INPUT,
            ],
        ),
        (
            "duplicates only",
            DiagnosisFacts {
                operators: vec![OperatorStanding {
                    recent: RecentWork {
                        duplicates: 7,
                        ..RecentWork::default()
                    },
                    ..operator("dedup", Withheld::Nothing)
                }],
                ..facts()
            },
            &[
                "dedup-0 dropped all of the last 7 rows as duplicates",
                NO_INPUT,
            ],
        ),
        (
            "a join without a match, whose state grows",
            DiagnosisFacts {
                operators: vec![OperatorStanding {
                    grows: vec!["rows of the left stream are kept for ever: no time".to_owned()],
                    ..operator("join", Withheld::Nothing)
                }],
                ..facts()
            },
            &[
                "no recent row of join-0 found a match; it holds 5 rows",
                NO_INPUT,
                "the state of join-0 grows without bound: rows of the left stream are kept for ever: no time",
            ],
        ),
        (
            "a limit that is reached",
            DiagnosisFacts {
                operators: vec![OperatorStanding {
                    is_exhausted: true,
                    ..idle_operator("limit")
                }],
                ..facts()
            },
            &[
                "the LIMIT limit-0 has let all of its rows through: no other will ever come out",
                NO_INPUT,
            ],
        ),
        (
            "no input since the start, and a trigger with an interval",
            DiagnosisFacts {
                last_input: None,
                epochs: 0,
                next_tick_millis: Some(NOON + 2 * MINUTE),
                sources: vec![SourceStanding {
                    description: "A".to_owned(),
                    ..SourceStanding::default()
                }],
                ..facts()
            },
            &[
                "no new input: nothing from A since the query started at 2001-09-09T11:00:00Z",
                "the trigger fires next at 2001-09-09T12:02:00Z, in 1 min",
            ],
        ),
        (
            "of two sources one is idle, the other has more than was taken",
            DiagnosisFacts {
                is_caught_up: false,
                sources: vec![
                    SourceStanding {
                        is_behind: true,
                        ..source("A")
                    },
                    SourceStanding {
                        recent_rows: 0,
                        last_rows_millis: None,
                        ..source("B")
                    },
                ],
                last_output: Some(OutputEpoch {
                    epoch: 4,
                    at_millis: NOON,
                    rows: 1,
                }),
                last_input: Some(InputEpoch {
                    rows_out: 1,
                    ..facts().last_input.unwrap()
                }),
                ..facts()
            },
            &[
                "rows do come out: 1 row in epoch 4 at 2001-09-09T12:00:00Z",
                "nothing new from B since the query started at 2001-09-09T11:00:00Z",
            ],
        ),
    ];
    for (name, facts, expected) in cases {
        let found = diagnose(facts);
        let causes: Vec<String> = found.causes.iter().map(ToString::to_string).collect();
        assert_eq!(causes, expected, "{name}");
        assert_eq!(found.summary(), expected[0], "{name}");
    }
}

#[test]
fn an_operator_behind_a_lag_needs_a_later_watermark_and_under_max_the_fastest_input_counts() {
    let mut of_two = with_watermarks(vec![watermark(0, 0), watermark(1, HOUR)]);
    of_two.watermark_policy = WatermarkPolicy::Max;
    of_two.watermark_millis = Some(of_two.watermarks[0].watermark_millis);
    of_two.operators = vec![OperatorStanding {
        next: Some(NextEnd {
            at_millis: NOON,
            needs_millis: NOON + MINUTE,
        }),
        ..operator("session", Withheld::Sessions)
    }];
    let found = diagnose(of_two);
    assert_eq!(
        found.summary(),
        "the first session, which ends at 2001-09-09T12:00:00Z or later, of session-0 comes out when the watermark, now \
         2001-09-09T11:59:30Z, reaches 2001-09-09T12:01:00Z: 'ts' of A must reach 2001-09-09T12:01:30Z (the newest so \
         far is 2001-09-09T12:00:00Z, 1 min 30 s to go)"
    );
    assert_eq!(found.causes.len(), 2, "and no input: {found}");
}

#[test]
fn the_whole_is_told_line_by_line_and_goes_through_json() {
    let mut told = windowed(0, windows(10 * MINUTE));
    told.operators[0].late_rows = 3;
    told.operators[0].recent.late = 1;
    let found = diagnose(told);
    let text = found.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "query 'q' at 2001-09-09T12:01:00Z: waiting for 59 s; 4 epochs since 2001-09-09T11:00:00Z, 7 rows read, 0 rows \
         out"
    );
    assert!(lines[1].starts_with("- the window"), "{text}");
    assert_eq!(
        lines[3..],
        [
            "source A: 7 rows, the last at 2001-09-09T12:00:00Z; nothing more was there",
            "watermark on 'ts' of A: 2001-09-09T11:59:30Z, 30 s behind the newest event time 2001-09-09T12:00:00Z",
            "state of aggregate-0: 5 rows, 3 rows dropped as late in this run, 1 recently, the first goes \
             when the watermark reaches 2001-09-09T12:10:00Z",
        ]
    );
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains(r#""cause":"not_closed""#), "{json}");
    let back: super::Diagnosis = serde_json::from_str(&json).unwrap();
    assert_eq!(back, found);
}
