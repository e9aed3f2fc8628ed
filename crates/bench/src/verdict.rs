//! Figures beside their targets, and the table that shows them.

use std::fmt;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Anything: it is told for what it explains.
    Told,
}

/// A figure and its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub measured: f64,
    /// In what.
    pub unit: &'static str,
    /// How much it should be.
    pub target: Target,
}

impl Finding {
    pub(crate) fn new(
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        target: Target,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            unit,
            target,
        }
    }

    /// Whether the figure is what it should be; none if there is no target. What is not a number never is.
    pub fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(most) => Some(self.measured <= most),
            Target::AtLeast(least) => Some(self.measured >= least),
            Target::Told => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {}", short(*most)),
            Self::AtLeast(least) => write!(f, "≥ {}", short(*least)),
            Self::Told => f.write_str("–"),
        }
    }
}

/// A Markdown table of findings, a line each, with what each belongs to: something of the kind that `first` names.
pub fn table<'a>(
    first: &str,
    findings: impl IntoIterator<Item = (&'a str, &'a Finding)>,
) -> String {
    let mut lines = vec![
        format!("| {first} | figure | measured | target | met |"),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    for (subject, finding) in findings {
        let met = match finding.is_met() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "–",
        };
        let (measured, unit) = (short(finding.measured), finding.unit);
        lines.push(format!(
            "| {subject} | {} | {measured} {unit} | {} | {met} |",
            finding.what, finding.target
        ));
    }
    lines.join("\n")
}

/// Three digits that matter, and all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 => format!("{value:.0}"),
        some if some >= 10.0 => format!("{value:.1}"),
        some if some >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The largest of some figures over the smallest: 1 for a line that is flat.
pub(crate) fn spread(values: impl IntoIterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().into_iter().fold(f64::NAN, f64::max);
    largest / values.into_iter().fold(f64::NAN, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_own_side_and_at_its_edge() {
        let met = |measured, target| Finding::new("", measured, "", target).is_met();
        assert_eq!(met(100.0, Target::AtMost(100.0)), Some(true));
        assert_eq!(met(100.1, Target::AtMost(100.0)), Some(false));
        assert_eq!(met(1.7, Target::AtLeast(1.7)), Some(true));
        assert_eq!(met(1.6, Target::AtLeast(1.7)), Some(false));
        assert_eq!(met(1.6, Target::Told), None);
        assert_eq!(met(f64::NAN, Target::AtMost(1.0)), Some(false));
    }

    #[test]
    fn the_table_says_what_was_wanted_and_whether_it_is_so() {
        let findings = [
            Finding::new("bytes a key", 123.4, "B", Target::AtMost(100.0)),
            Finding::new("speed-up", 1.85, "", Target::AtLeast(1.7)),
            Finding::new("rows", 0.25, "", Target::Told),
        ];
        let table = table("curve", findings.iter().map(|finding| ("c", finding)));
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| c | bytes a key | 123 B | ≤ 100 | no |",
                "| c | speed-up | 1.85  | ≥ 1.70 | yes |",
                "| c | rows | 0.250  | – | – |",
            ]
        );
    }

    #[test]
    fn the_spread_of_a_flat_line_is_one() {
        assert_eq!(spread([2.0, 2.0]), 1.0);
        assert_eq!(spread([3.0, 1.0, 2.0]), 3.0);
    }
}
