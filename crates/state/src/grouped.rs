//! Rows in order of a small number: the segment they belong to.

use std::ops::Range;

/// Rows in order of their group, keeping their order within a group.
pub(crate) struct Grouped {
    /// Row numbers, group by group.
    pub(crate) order: Vec<u32>,
    /// Each group and its range of `order`.
    pub(crate) groups: Vec<(u32, Range<usize>)>,
}

impl Grouped {
    /// Groups rows by a small number; costs O(rows + largest number).
    pub(crate) fn by(group_of_row: &[u32]) -> Self {
        let largest = group_of_row.iter().max().map_or(0, |max| *max as usize + 1);
        let mut next = vec![0usize; largest];
        for group in group_of_row {
            next[*group as usize] += 1;
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for (group, next) in next.iter_mut().enumerate() {
            let len = std::mem::replace(next, start);
            if len > 0 {
                groups.push((group as u32, start..start + len));
                start += len;
            }
        }
        let mut order = vec![0u32; group_of_row.len()];
        for (row, group) in group_of_row.iter().enumerate() {
            let place = &mut next[*group as usize];
            order[*place] = row as u32;
            *place += 1;
        }
        Self { order, groups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_within_a_group() {
        let grouped = Grouped::by(&[5, 2, 5, 2, 2]);
        assert_eq!(grouped.order, [1, 3, 4, 0, 2]);
        assert_eq!(grouped.groups, [(2, 0..3), (5, 3..5)]);
        assert!(Grouped::by(&[]).groups.is_empty());
    }
}
