//! Which pictures lines of measurements make.

use headwater_core::{Error, Result};
use serde::Deserialize;

use super::axis::short;
use crate::{
    compare::{
        Line,
        schedule::Engine,
        summary::median,
        targets::{COMPARISONS, Figure},
    },
    curves::CURVES,
};

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Point {
    /// The curve it belongs to: what is shown together.
    pub curve: String,
    /// Which line of the curve.
    pub series: String,
    /// Where on the line.
    pub x: f64,
    /// What `x` counts.
    pub x_unit: String,
    /// What was measured there.
    pub y: f64,
    /// What `y` counts.
    pub y_unit: String,
}

/// A line of the input.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// A point.
    Point(Point),
    /// A measurement of a comparison.
    Comparison(Box<Line>),
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Panel {
    /// Bars in groups.
    Bars {
        /// What it shows.
        title: String,
        /// What the bars count.
        unit: String,
        /// The group's name, and a bar for some of the engines: the number of its name, and its value.
        groups: Vec<(String, Vec<(usize, f64)>)>,
        /// Whose bars they are.
        names: Vec<String>,
    },
    /// Lines through points.
    Lines {
        /// What it shows.
        title: String,
        /// What goes to the right.
        x_unit: String,
        /// What goes up.
        y_unit: String,
        /// The name and the points of each line, from left to right.
        series: Vec<(String, Vec<(f64, f64)>)>,
    },
}

/// Who has bars, in this order. Of Spark's stores the better one counts.
const ENGINES: [&str; 3] = ["headwater", "Spark", "DataFusion batch"];

/// Reads lines of JSON; other lines, as of a table below them, are passed over.
///
/// # Errors
/// `Data` if a line is neither a point nor a measurement, with its number.
pub fn parse(text: &str) -> Result<Vec<Input>> {
    let lines = text.lines().enumerate();
    lines
        .map(|(i, line)| (i + 1, line.trim()))
        .filter(|(_, line)| line.starts_with('{'))
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|e| {
                Error::data(format!(
                    "line {number}: expected a measurement of `compare` or a point of a curve, found {line}"
                ))
                .with_source(e)
            })
        })
        .collect()
}

/// The pictures: throughput, the time of small triggers, then each curve; of the curves those in `chosen`, or all.
pub fn panels(lines: &[Input], chosen: &[String]) -> Vec<Panel> {
    let throughput = bars(lines, Figure::Throughput);
    let triggers = bars(lines, Figure::TriggerTime);
    let mut panels: Vec<Panel> = throughput.into_iter().chain(triggers).collect();
    panels.extend(curves(lines, chosen));
    panels
}

/// The same pictures, each with a name of its own; a curve with several units is one picture of several panels.
pub fn pictures(lines: &[Input]) -> Vec<(String, Vec<Panel>)> {
    let mut names: Vec<&String> = Vec::new();
    for line in lines {
        if let Input::Point(point) = line
            && !names.contains(&&point.curve)
        {
            names.push(&point.curve);
        }
    }
    let bars = [
        ("throughput", bars(lines, Figure::Throughput)),
        ("small-triggers", bars(lines, Figure::TriggerTime)),
    ];
    let bars = bars.map(|(name, panel)| (name.to_owned(), panel.into_iter().collect()));
    let curves = names.into_iter().map(|name| {
        let panels = curves(lines, std::slice::from_ref(name));
        (name.clone(), panels)
    });
    let pictures = bars.into_iter().chain(curves);
    pictures.filter(|(_, panels)| !panels.is_empty()).collect()
}

fn bars(lines: &[Input], figure: Figure) -> Option<Panel> {
    let groups: Vec<_> = COMPARISONS
        .iter()
        .filter(|comparison| comparison.figure == figure)
        .map(|comparison| {
            let bars = (0..ENGINES.len())
                .filter_map(|engine| Some((engine, best(lines, comparison.name, figure, engine)?)));
            (comparison.name.to_owned(), bars.collect::<Vec<_>>())
        })
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let has_bars = |engine: usize| {
        let mut bars = groups.iter().flat_map(|(_, bars)| bars);
        bars.any(|(number, _)| *number == engine)
    };
    // Who did not run is not in the legend either; the others keep their colours.
    let names = (0..ENGINES.len()).map(|engine| {
        let name = if has_bars(engine) {
            ENGINES[engine]
        } else {
            ""
        };
        name.to_owned()
    });
    let names = names.collect();
    let (title, unit) = match figure {
        Figure::Throughput => ("Throughput", "rows per second"),
        Figure::TriggerTime => ("Median time of a small trigger", "milliseconds"),
    };
    (!groups.is_empty()).then(|| Panel::Bars {
        title: title.to_owned(),
        unit: unit.to_owned(),
        groups,
        names,
    })
}

/// The median of an engine's runs; of Spark's stores the better one.
fn best(lines: &[Input], comparison: &str, figure: Figure, number: usize) -> Option<f64> {
    let mut runs: Vec<(Engine, Vec<f64>)> = Vec::new();
    for line in lines {
        let Input::Comparison(line) = line else {
            continue;
        };
        let measured = &line.measurement;
        let engine = Engine::of(&measured.engine).filter(|engine| bar_of(*engine) == number);
        let value = match figure {
            Figure::Throughput => Some(measured.rows_per_s as f64),
            Figure::TriggerTime => measured.trigger_ms_p50,
        };
        if let (Some(engine), Some(value), true) = (engine, value, line.comparison == comparison) {
            match runs.iter_mut().find(|(known, _)| *known == engine) {
                Some((_, values)) => values.push(value),
                None => runs.push((engine, vec![value])),
            }
        }
    }
    let medians = runs.into_iter().filter_map(|(_, values)| median(values));
    match figure {
        Figure::Throughput => medians.max_by(f64::total_cmp),
        Figure::TriggerTime => medians.min_by(f64::total_cmp),
    }
}

fn bar_of(engine: Engine) -> usize {
    match engine {
        Engine::Headwater => 0,
        Engine::Spark(_) => 1,
        Engine::Batch => 2,
    }
}

fn curves(lines: &[Input], chosen: &[String]) -> Vec<Panel> {
    type Series = Vec<(String, Vec<(f64, f64)>)>;
    let mut curves: Vec<(&Point, Series)> = Vec::new();
    for line in lines {
        let Input::Point(point) = line else {
            continue;
        };
        if !chosen.is_empty() && !chosen.contains(&point.curve) {
            continue;
        }
        // What is counted differently has axes of its own.
        let same = |other: &Point| {
            (&other.curve, &other.x_unit, &other.y_unit)
                == (&point.curve, &point.x_unit, &point.y_unit)
        };
        let place = curves.iter().position(|(first, _)| same(first));
        let place = place.unwrap_or_else(|| {
            curves.push((point, Vec::new()));
            curves.len() - 1
        });
        let series = &mut curves[place].1;
        match series.iter_mut().find(|(name, _)| *name == point.series) {
            Some((_, points)) => points.push((point.x, point.y)),
            None => series.push((point.series.clone(), vec![(point.x, point.y)])),
        }
    }
    let panel = |(first, mut series): (&Point, Series)| {
        for (_, points) in &mut series {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let title = title(&first.curve);
        let mut points = series.iter().flat_map(|(_, points)| points);
        if points.all(|(x, _)| *x == first.x) {
            return bars_at(first, title, series);
        }
        Panel::Lines {
            title,
            x_unit: first.x_unit.clone(),
            y_unit: first.y_unit.clone(),
            series,
        }
    };
    curves.into_iter().map(panel).collect()
}

/// What a curve shows; its name, if it is none of ours.
fn title(curve: &str) -> String {
    let known = CURVES.iter().find(|known| known.name == curve);
    known.map_or(curve, |known| known.title).to_owned()
}

/// A curve with one place only has no lines: a bar for each series, the median of its points.
fn bars_at(first: &Point, title: String, series: Vec<(String, Vec<(f64, f64)>)>) -> Panel {
    let bar = |(name, points): (String, Vec<(f64, f64)>)| {
        let value = median(points.into_iter().map(|(_, y)| y).collect())?;
        Some((name, vec![(0, value)]))
    };
    Panel::Bars {
        title: format!("{title}, {} {}", short(first.x), first.x_unit),
        unit: first.y_unit.clone(),
        groups: series.into_iter().filter_map(bar).collect(),
        names: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(comparison: &str, engine: &str, rows_per_s: u64, millis: f64) -> String {
        format!(
            "{{\"comparison\": \"{comparison}\", \"engine\": \"{engine}\", \"rows_per_s\": {rows_per_s}, \
             \"trigger_ms_p50\": {millis}}}\n"
        )
    }

    fn point(curve: &str, series: &str, x: f64, y: f64, y_unit: &str) -> String {
        format!(
            "{{\"curve\": \"{curve}\", \"series\": \"{series}\", \"x\": {x}, \"x_unit\": \"keys\", \"y\": {y}, \
             \"y_unit\": \"{y_unit}\"}}\n"
        )
    }

    #[test]
    fn bars_are_medians_with_the_better_store_of_spark() {
        let text = [
            run("join", "headwater-0", 10, 1.0),
            run("join", "headwater-0", 30, 1.0),
            run("join", "headwater-0", 20, 1.0),
            run("join", "spark-4-rocksdb", 2, 1.0),
            run("join", "spark-4-hdfs", 5, 1.0),
            run("tumbling", "headwater-0", 40, 1.0),
            run("small", "headwater-0", 7, 2.5),
            run("small", "spark-4-hdfs", 7, 200.0),
            run("small", "spark-4-rocksdb", 7, 300.0),
        ]
        .concat();
        let panels = panels(&parse(&text).unwrap(), &[]);
        let [
            Panel::Bars { groups, names, .. },
            Panel::Bars { groups: small, .. },
        ] = panels.as_slice()
        else {
            panic!("{panels:?}")
        };
        assert_eq!(
            groups[..],
            [
                ("tumbling".to_owned(), vec![(0, 40.0)]),
                ("join".to_owned(), vec![(0, 20.0), (1, 5.0)]),
            ]
        );
        assert_eq!(names[..], ["headwater", "Spark", ""]);
        assert_eq!(
            small[..],
            [("small".to_owned(), vec![(0, 2.5), (1, 200.0)])]
        );
    }

    #[test]
    fn a_curve_has_lines_and_each_unit_axes_of_its_own() {
        let text = [
            point("keys", "join", 100.0, 2.0, "ms"),
            point("keys", "join", 10.0, 1.0, "ms"),
            point("keys", "dedup", 10.0, 3.0, "ms"),
            point("keys", "join", 10.0, 5.0, "bytes"),
            point("threads", "tumbling", 1.0, 5.0, "ms"),
        ]
        .concat();
        let lines = parse(&text).unwrap();
        let panels_of = |chosen: &[String]| panels(&lines, chosen);
        let all = panels_of(&[]);
        assert_eq!(all.len(), 3);
        let Panel::Lines { series, y_unit, .. } = &all[0] else {
            panic!("{all:?}")
        };
        assert_eq!(y_unit, "ms");
        assert_eq!(
            series[..],
            [
                ("join".to_owned(), vec![(10.0, 1.0), (100.0, 2.0)]),
                ("dedup".to_owned(), vec![(10.0, 3.0)]),
            ]
        );
        assert_eq!(panels_of(&["threads".to_owned()]).len(), 1);
    }

    #[test]
    fn a_curve_with_one_place_has_bars() {
        let text = [
            point("durability", "on disk", 450_000.0, 36.0, "ms"),
            point("durability", "in memory", 450_000.0, 31.0, "ms"),
        ]
        .concat();
        let panels = panels(&parse(&text).unwrap(), &[]);
        let [Panel::Bars { title, groups, .. }] = panels.as_slice() else {
            panic!("{panels:?}")
        };
        assert!(
            title.ends_with("on disk and in memory, 450 k keys"),
            "{title}"
        );
        let bars = [("on disk", 36.0), ("in memory", 31.0)];
        assert_eq!(
            groups[..],
            bars.map(|(name, y)| (name.to_owned(), vec![(0, y)]))
        );
    }

    #[test]
    fn each_curve_is_a_picture_whatever_its_units() {
        let text = [
            point("memory", "resident", 10.0, 2.0, "bytes"),
            point("memory", "resident", 100.0, 2.0, "bytes"),
            run("join", "headwater-0", 10, 1.0),
            point("restore", "join", 10.0, 1.0, "ms"),
            point("memory", "resident", 10.0, 5.0, "share"),
            run("small", "headwater-0", 7, 2.5),
        ]
        .concat();
        let pictures = pictures(&parse(&text).unwrap());
        let sizes = pictures
            .iter()
            .map(|(name, panels)| (name.as_str(), panels.len()));
        let expected = [
            ("throughput", 1),
            ("small-triggers", 1),
            ("memory", 2),
            ("restore", 1),
        ];
        assert_eq!(sizes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_that_is_neither_is_told_with_its_number() {
        let error = parse("| a table |\n{}\n").unwrap_err();
        assert!(error.message().contains("line 2"), "{error}");
    }
}
