//! Records of every released version of the format must still be read, and those of today written byte for byte.
//!
//! JSON objects below have their names in order, so that they are written alike whatever features of serde_json are
//! switched on elsewhere in the build. A file here is never changed. A new version of a record gets a new file, and the old one stays.

use std::{fmt::Debug, fs, path::PathBuf};

use headwater_core::{
    Delay, Epoch, EventTime, Offset, OffsetRange, OutputMode, PreparedPart, QueryId, RunId,
    Watermark,
};
use headwater_log::{
    Committed, Floor, LateOutput, Metadata, NodeWatermark, OperatorRecord, Planned, SourceStep,
    Started, WatermarkPolicy, WatermarkRecord,
    codec::{Record, decode, encode},
};
use serde_json::json;
use uuid::Uuid;

const QUERY: QueryId = QueryId(Uuid::from_u128(0x0a0b_0c0d_0e0f_1011_1213_1415_1617_1819));
const RUN: RunId = RunId(Uuid::from_u128(0x2a2b_2c2d_2e2f_3031_3233_3435_3637_3839));

fn check<T: Record + Debug + PartialEq>(name: &str, record: &T) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden", name]
        .iter()
        .collect();
    if std::env::var_os("WRITE_GOLDEN").is_some() && !path.exists() {
        fs::write(&path, encode(record).expect("has JSON")).expect("can be written");
    }
    let bytes = fs::read(&path).expect(name);
    assert_eq!(&decode::<T>(name, &bytes).expect(name), record, "{name}");
    assert_eq!(
        encode(record).expect("has JSON"),
        bytes,
        "{name} is written as it was"
    );
}

fn watermark(millis: i64) -> Watermark {
    Watermark::START.advanced(EventTime(millis), Delay(0))
}

fn watermarks() -> WatermarkRecord {
    let node = |max, at| NodeWatermark {
        max,
        watermark: watermark(at),
    };
    WatermarkRecord {
        global: watermark(20_000),
        previous: watermark(10_000),
        nodes: [
            ("left".to_owned(), node(Some(EventTime(25_000)), 20_000)),
            ("right".to_owned(), node(None, 0)),
        ]
        .into(),
    }
}

#[test]
fn metadata_v1() {
    check(
        "metadata-v1",
        &Metadata {
            query: QUERY,
            created_millis: 1_700_000_000_000,
            engine: "0.1.0".to_owned(),
            partitions: 8,
            output_mode: OutputMode::Append,
            watermark_policy: WatermarkPolicy::Min,
            sources: vec!["file parquet data/logs".to_owned()],
            sink: "file parquet out/errors".to_owned(),
            late_sink: None,
            operators: vec![OperatorRecord {
                id: "aggregate-0".to_owned(),
                kind: "aggregate".to_owned(),
                fingerprint: json!({"aggregates": ["count(1)"], "keys": ["window", "host"]}),
                stores: json!(null),
            }],
            settings: [("minBatchesToRetain".to_owned(), "100".to_owned())].into(),
        },
    );
}

#[test]
fn run_v1() {
    check(
        "run-v1",
        &Started {
            run: RUN,
            started_millis: 1_700_000_000_000,
            engine: "0.1.0".to_owned(),
        },
    );
}

#[test]
fn plan_v1() {
    check(
        "plan-v1",
        &Planned {
            epoch: Epoch(17),
            run: RUN,
            time_millis: 1_700_000_001_000,
            watermark: watermarks(),
            sources: vec![
                SourceStep::Read(OffsetRange {
                    start: Some(Offset(json!({"seen": 4}))),
                    end: Offset(json!({"seen": 6})),
                    detail: json!(["a.parquet", "b.parquet"]),
                }),
                SourceStep::Read(OffsetRange {
                    start: None,
                    end: Offset::count(3),
                    detail: json!(null),
                }),
                SourceStep::Idle {
                    at: Some(Offset::count(9)),
                },
                SourceStep::Idle { at: None },
            ],
            has_data: true,
        },
    );
}

#[test]
fn commit_v1() {
    check(
        "commit-v1",
        &Committed {
            epoch: Epoch(17),
            run: RUN,
            next: watermarks(),
            state: json!({"deltas": ["state/0/17.delta"], "version": 17}),
            parts: vec![PreparedPart {
                partition: 0,
                rows: 12,
                detail: json!({"crc32": 7, "path": "part-0.parquet", "size": 99, "token": {"hidden": "_headwater/staging/17-2a2b2c2d.0"}}),
            }],
            late: None,
            stats: json!({"rows": 12}),
        },
    );
}

#[test]
fn metadata_v1_with_late_rows() {
    check(
        "metadata-v1-late",
        &Metadata {
            query: QUERY,
            created_millis: 1_700_000_000_000,
            engine: "0.1.0".to_owned(),
            partitions: 8,
            output_mode: OutputMode::Append,
            watermark_policy: WatermarkPolicy::Min,
            sources: vec!["file parquet data/logs".to_owned()],
            sink: "file parquet out/errors".to_owned(),
            late_sink: Some("file json out/late".to_owned()),
            operators: Vec::new(),
            settings: Default::default(),
        },
    );
}

#[test]
fn commit_v1_with_late_rows() {
    let part = |partition, path: &str| PreparedPart {
        partition,
        rows: 3,
        detail: json!({"files": [{"crc32": 7, "path": path, "size": 99, "token": {"hidden": format!("_headwater/staging/{partition}")}}]}),
    };
    check(
        "commit-v1-late",
        &Committed {
            epoch: Epoch(17),
            run: RUN,
            next: watermarks(),
            state: json!(null),
            parts: vec![part(0, "part-0.parquet")],
            late: Some(LateOutput {
                sink: "file json out/late".to_owned(),
                parts: vec![part(1, "part-1.json")],
            }),
            stats: json!({"rows": 12}),
        },
    );
}

#[test]
fn floor_v1() {
    check("floor-v1", &Floor { epoch: Epoch(5) });
}
