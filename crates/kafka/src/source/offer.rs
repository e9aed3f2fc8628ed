//! What a source offers, and what can be said of the next offer.

use headwater_core::{Increment, Offset};

use super::{
    plan::{self, Limits},
    positions::Positions,
    splits,
};

/// What is offered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer {
    /// `None`: nothing.
    pub(crate) increment: Option<Increment>,
    /// Where the offer ends.
    pub(crate) end: Positions,
    /// Where the partitions end.
    pub(crate) latest: Positions,
    /// There is more than the limits allow.
    pub(crate) has_more: bool,
    /// There is less than `minOffsetsPerTrigger`.
    pub(crate) waits_for_more: bool,
    /// Where the next offer will end, if that was said: see [`Self::peek`].
    pub(crate) peeked: Option<Positions>,
}

impl Offer {
    /// Where the next offer ends that begins at `start`, by what is known now; the next one keeps to it if it can. `None`
    /// if this one was not limited, since what has come meanwhile is not known, and if so little is left that it may be
    /// waited for more.
    pub(crate) fn peek(
        &mut self,
        start: &Positions,
        limits: &Limits,
        limit: Option<u64>,
    ) -> Option<&Positions> {
        let left = start.distance(&self.latest);
        let may_wait = limits.min.is_some_and(|least| left < least.offsets);
        if !self.has_more || *start != self.end || may_wait {
            return None;
        }
        Some(&*self.peeked.insert(plan::ends(start, &self.latest, limit)))
    }
}

/// The offer of what lies between two positions.
pub(super) fn offered(
    start: Option<&Positions>,
    begin: &Positions,
    end: Positions,
    latest: Positions,
) -> Offer {
    Offer {
        increment: Some(Increment {
            end: Offset(end.to_json()),
            detail: splits::detail(start, begin),
        }),
        has_more: end.distance(&latest) > 0,
        end,
        latest,
        ..Offer::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::positions::positions, *};

    #[test]
    fn only_behind_a_limit_is_known_what_comes_next() {
        let at = |offset| positions(&[("t", 0, offset), ("t", 1, offset)]);
        let mut offer = offered(None, &at(0), at(10), at(100));
        assert!(offer.has_more);
        let none = Limits::default();
        assert_eq!(offer.peek(&at(9), &none, Some(20)), None, "elsewhere");
        let least = |offsets| Limits {
            min: Some(plan::AtLeast {
                offsets,
                max_delay: Duration::MAX,
            }),
            ..none
        };
        assert_eq!(offer.peek(&at(10), &least(181), Some(20)), None, "waits");
        assert_eq!(offer.peek(&at(10), &least(180), Some(20)), Some(&at(20)));
        assert_eq!(offer.peek(&at(10), &none, Some(20)), Some(&at(20)));
        assert_eq!(offer.peeked, Some(at(20)));
        let mut last = offered(None, &at(20), at(100), at(100));
        assert_eq!(
            last.peek(&at(100), &none, Some(20)),
            None,
            "nothing is known beyond"
        );
    }
}
