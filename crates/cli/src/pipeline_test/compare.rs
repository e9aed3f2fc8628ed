//! Expected rows against those that came: a pure decision.

use std::collections::HashMap;

use super::rows::Row;

/// A row that came, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) row: Row,
    pub(crate) epoch: u64,
}

/// What is expected of a query.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// Of the run as a whole.
    AtTheEnd(Vec<Row>),
    /// Of each epoch, from the first on; of those that are left out, nothing.
    ByEpoch(Vec<Vec<Row>>),
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The epoch that it is about, if epochs are compared.
    pub(crate) epoch: Option<u64>,
    /// Rows that did not come, in the order of the file.
    pub(crate) missing: Vec<String>,
    /// Rows that nobody expected, with their epochs, in the order in which they came.
    pub(crate) unexpected: Vec<(String, u64)>,
    /// The first place where the same rows came in another order: its number from one, what was expected there, and what
    /// came.
    pub(crate) out_of_order: Option<(usize, String, String)>,
}

/// The differences, none if all is as expected. `came` are the rows at the end or, where epochs are expected, those of
/// all epochs.
pub(crate) fn differences(expected: &Expected, came: &[Came], ordered: bool) -> Vec<Difference> {
    match expected {
        Expected::AtTheEnd(rows) => {
            let came: Vec<&Came> = came.iter().collect();
            difference(None, rows, &came, ordered).into_iter().collect()
        }
        Expected::ByEpoch(epochs) => {
            let last = came.iter().map(|came| came.epoch + 1).max().unwrap_or(0);
            let epochs_expected = u64::try_from(epochs.len()).unwrap_or(u64::MAX);
            let each = (0..last.max(epochs_expected)).filter_map(|epoch| {
                let rows = usize::try_from(epoch).ok().and_then(|at| epochs.get(at));
                let rows = rows.map_or(&[][..], Vec::as_slice);
                let came: Vec<&Came> = came.iter().filter(|came| came.epoch == epoch).collect();
                difference(Some(epoch), rows, &came, ordered)
            });
            each.collect()
        }
    }
}

fn difference(
    epoch: Option<u64>,
    expected: &[Row],
    came: &[&Came],
    ordered: bool,
) -> Option<Difference> {
    let mut counts: HashMap<&[u8], i64> = HashMap::new();
    for came in came {
        *counts.entry(&came.row.key).or_default() += 1;
    }
    let mut missing = Vec::new();
    for row in expected {
        let left = counts.entry(&row.key).or_default();
        if *left <= 0 {
            missing.push(row.text.clone());
        }
        *left -= 1;
    }
    // Of equal rows the last ones are those too many.
    let mut unexpected = Vec::new();
    for came in came.iter().rev() {
        let left = counts.entry(&came.row.key).or_default();
        if *left > 0 {
            *left -= 1;
            unexpected.push((came.row.text.clone(), came.epoch));
        }
    }
    unexpected.reverse();
    let is_same = missing.is_empty() && unexpected.is_empty();
    let places = expected.iter().zip(came).enumerate();
    let mut displaced = places.filter(|(_, (expected, came))| expected.key != came.row.key);
    let out_of_order = match (is_same && ordered, displaced.next()) {
        (true, Some((at, (expected, came)))) => {
            Some((at + 1, expected.text.clone(), came.row.text.clone()))
        }
        _ => None,
    };
    if is_same && out_of_order.is_none() {
        return None;
    }
    Some(Difference {
        epoch,
        missing,
        unexpected,
        out_of_order,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        Row {
            key: text.as_bytes().to_vec(),
            text: text.to_owned(),
        }
    }

    fn file(text: &str) -> Vec<Row> {
        text.split_whitespace().map(row).collect()
    }

    /// Rows by epoch, epochs with `|` between them.
    fn came(text: &str) -> Vec<Came> {
        let epochs = text.split('|').zip(0..);
        epochs
            .flat_map(|(rows, epoch)| file(rows).into_iter().map(move |row| Came { row, epoch }))
            .collect()
    }

    /// `epoch:-missing +unexpected@epoch ~first`, one difference after the other.
    fn shown(expected: &Expected, came: &[Came], ordered: bool) -> String {
        let differences = differences(expected, came, ordered);
        let shown = differences.iter().map(|difference| {
            let epoch = difference.epoch.map_or_else(String::new, |e| e.to_string());
            let missing = difference.missing.iter().map(|row| format!("-{row}"));
            let unexpected = difference.unexpected.iter();
            let unexpected = unexpected.map(|(row, epoch)| format!("+{row}@{epoch}"));
            let order = difference.out_of_order.iter();
            let order = order.map(|(at, expected, came)| format!("~{at}:{expected}/{came}"));
            let all: Vec<String> = missing.chain(unexpected).chain(order).collect();
            format!("{epoch}[{}]", all.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn at_the_end_rows_count_as_often_as_they_stand_there() {
        for (expected, found, difference) in [
            ("", "", ""),
            ("a b", "b | a", ""),
            ("a a b", "a | b", "[-a]"),
            ("a", "a | b a", "[+b@1 +a@1]"),
            ("a c", "b", "[-a -c +b@0]"),
        ] {
            let expected = Expected::AtTheEnd(file(expected));
            assert_eq!(shown(&expected, &came(found), false), difference);
        }
    }

    #[test]
    fn by_epoch_a_row_must_come_in_its_own() {
        for (expected, found, difference) in [
            ("a | b", "a | b", ""),
            ("a b", "b a | ", ""),
            ("a", "a | b", "1[+b@1]"),
            ("a | b", "a", "1[-b]"),
            ("a | b", "b | a", "0[-a +b@0]1[-b +a@1]"),
        ] {
            let expected = Expected::ByEpoch(expected.split('|').map(file).collect());
            assert_eq!(shown(&expected, &came(found), false), difference);
        }
    }

    #[test]
    fn order_counts_if_it_is_asked_for() {
        let expected = Expected::AtTheEnd(file("a b c"));
        assert_eq!(shown(&expected, &came("a b c"), true), "");
        assert_eq!(shown(&expected, &came("a c | b"), true), "[~2:b/c]");
        assert_eq!(shown(&expected, &came("a c | b"), false), "");
        // What is missing says more than where it is missing.
        assert_eq!(shown(&expected, &came("c a"), true), "[-b]");
    }
}
