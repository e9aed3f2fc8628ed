//! The name that was meant.

/// The one of `names` that `written` is most likely to be a misspelling of; none if all are too different.
///
/// Names are compared without regard to case by the number of letters to insert, delete, replace or swap with their
/// neighbour (the distance of Damerau, restricted to each letter being changed once): at most a third of the letters.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = written.to_lowercase().chars().collect();
    let most = (letters.len() / 3).clamp(1, 4);
    let close = names.into_iter().filter_map(|name| {
        let candidate: Vec<char> = name.to_lowercase().chars().collect();
        if candidate.len().abs_diff(letters.len()) > most {
            return None;
        }
        let distance = distance(&letters, &candidate);
        (distance <= most).then_some((distance, name))
    });
    close.min().map(|(_, name)| name)
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_before: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = before[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(before[j] + 1).min(row[j - 1] + 1);
            let is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if is_swap {
                row[j] = row[j].min(two_before[j - 2] + 1);
            }
        }
        two_before = before;
        before = row;
    }
    before[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_name() {
        let names = ["clicks", "impressions", "status", "host", "time"];
        for (written, expected) in [
            ("click", Some("clicks")),
            ("CLIKCS", Some("clicks")),
            ("imprssions", Some("impressions")),
            ("stauts", Some("status")),
            ("tiem", Some("time")),
            ("user", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), expected, "{written}");
        }
    }
}
