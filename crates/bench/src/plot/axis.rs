//! An axis: its range, the marks on it, and their texts.

/// Where values lie between two ends, and which of them are marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Whether equal steps are equal ratios.
    pub logarithmic: bool,
    /// The value at the beginning.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
    /// The marks, with what to write there.
    pub marks: Vec<(f64, String)>,
}

/// At most so many marks on an axis.
const MARKS: f64 = 8.0;

impl Axis {
    /// Room for all of `values`: powers of ten if they are positive and not close to each other, else from zero on.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        if least > 0.0 && most >= 10.0 * least {
            Self::logarithmic(least, most)
        } else {
            Self::linear(most)
        }
    }

    /// From the power of ten below `least` to the one above `most`, both positive.
    pub fn logarithmic(least: f64, most: f64) -> Self {
        let first = least.log10().floor() as i32;
        // A value on the edge needs no further decade.
        let last = (most.log10().ceil() as i32).max(first + 1);
        let powers = first..=last;
        Self {
            logarithmic: true,
            from: 10_f64.powi(first),
            to: 10_f64.powi(last),
            marks: powers
                .map(|power| 10_f64.powi(power))
                .map(|mark| (mark, short(mark)))
                .collect(),
        }
    }

    /// From zero past `most`, marked in round steps.
    pub fn linear(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / MARKS).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| most / step <= MARKS);
        let step = step.unwrap_or(10.0 * power);
        let count = (most / step).ceil() as u32;
        Self {
            logarithmic: false,
            from: 0.0,
            to: step * f64::from(count),
            marks: (0..=count)
                .map(|i| step * f64::from(i))
                .map(|mark| (mark, short(mark)))
                .collect(),
        }
    }

    /// Names beside each other, each in the middle of a unit.
    pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let marks: Vec<_> = names
            .enumerate()
            .map(|(i, name)| (i as f64 + 0.5, name.to_owned()))
            .collect();
        Self {
            logarithmic: false,
            from: 0.0,
            to: marks.len() as f64,
            marks,
        }
    }

    /// How far along the axis a value is: 0 at its beginning, 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.logarithmic {
                value.max(f64::MIN_POSITIVE).log10()
            } else {
                value
            }
        };
        let (from, to) = (scale(self.from), scale(self.to));
        (scale(value) - from) / (to - from)
    }
}

/// A number in three digits, in thousands, millions or billions.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        v if v == 0.0 || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 1.0 => 2,
        v => (2.0 - v.log10().floor()).min(9.0) as usize,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn values_far_apart_are_marked_by_powers_of_ten() {
        let axis = Axis::of([2_500.0, 1_200_000.0].into_iter());
        assert!(axis.logarithmic);
        assert_eq!(texts(&axis), ["1 k", "10 k", "100 k", "1 M", "10 M"]);
        assert_eq!(axis.place(1_000.0), 0.0);
        assert_eq!(axis.place(10_000_000.0), 1.0);
        assert!((axis.place(100_000.0) - 0.5).abs() < 1e-9);
        let axis = Axis::of([0.01, 10.0].into_iter());
        assert_eq!(texts(&axis), ["0.01", "0.1", "1", "10"]);
    }

    #[test]
    fn values_close_together_are_marked_from_zero_on() {
        let axis = Axis::of([4.8, 5.5].into_iter());
        assert!(!axis.logarithmic);
        assert_eq!(texts(&axis), ["0", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(axis.place(3.0), 0.5);
        assert_eq!(
            texts(&Axis::of([0.0, 35.0].into_iter())).last(),
            Some(&"35")
        );
    }

    #[test]
    fn an_axis_without_values_has_marks_too() {
        for values in [vec![], vec![0.0]] {
            let axis = Axis::of(values.into_iter());
            assert_eq!((axis.from, axis.to), (0.0, 1.0));
            assert!(axis.marks.len() > 1);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.0123, "0.0123"),
            (7.0, "7"),
            (13.72, "13.7"),
            (250.0, "250"),
            (999.7, "1000"),
            (1_000.0, "1 k"),
            (13_720_000.0, "13.7 M"),
            (2_000_000_000.0, "2 G"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
