//! What readers have found damaged, so that each place is told and counted once, however many readers come by.
//!
//! Which lanes lost events is counted by the lanes' own readers, see `lane`.

use std::collections::BTreeMap;

use crate::Lsn;

/// Places that are remembered. The oldest is forgotten for a newer one, and may be told again then.
const PLACES: usize = 4096;

/// A damaged place: in the ring, or in the backlog of the lane with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// Groups from an offset of a segment on.
    Groups { backlog: Option<usize>, segment: u64, offset: u64 },
    /// The body of one event.
    Event { backlog: Option<usize>, lsn: Lsn },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Damage(BTreeMap<Spot, u64>);

impl Damage {
    /// Notes that `events` are lost there. How many of them nobody knew of, and whether the place is new.
    pub(crate) fn note(&mut self, spot: Spot, events: u64) -> (u64, bool) {
        let known = self.0.get(&spot).copied();
        if known.is_none() && self.0.len() == PLACES {
            self.0.pop_first();
        }
        let fresh = events.saturating_sub(known.unwrap_or(0));
        if known.is_none() || fresh > 0 {
            self.0.insert(spot, events);
        }
        (fresh, known.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_counts_once_and_may_grow() {
        let mut damage = Damage::default();
        let spot = |offset| Spot::Groups { backlog: None, segment: 3, offset };
        assert_eq!(damage.note(spot(4096), 3), (3, true));
        assert_eq!(damage.note(spot(4096), 3), (0, false));
        assert_eq!(damage.note(spot(4096), 5), (2, false), "the group behind it is lost, too");
        assert_eq!(damage.note(spot(4096), 3), (0, false));
        assert_eq!(damage.note(Spot::Groups { backlog: Some(1), segment: 3, offset: 4096 }, 1), (1, true));
        for offset in 0..2 * PLACES as u64 {
            damage.note(spot(offset), 1);
        }
        assert_eq!(damage.0.len(), PLACES);
    }
}
