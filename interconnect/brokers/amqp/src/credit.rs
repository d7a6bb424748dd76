//! How credit, which changes with every task that a WEE takes or ends, is kept with RabbitMQ's prefetch, which is fixed
//! for the life of a consumer. Pure: what the pump does is decided here.
//!
//! Less credit than prefetch is made up for by holding acks back: the server counts what is not acked. Only where that
//! does not do, or would take long, a new consumer takes the place of the old one. What an old consumer delivered no
//! longer counts at the server, but it does here.

use crate::limits::PREFETCH_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub credit: usize,
    /// Of the consumer that there is; 0 when there is none.
    pub prefetch: usize,
    /// Not acked by the subscriber, delivered by earlier consumers.
    pub old: usize,
    /// Not acked by the subscriber, delivered by the one that there is.
    pub own: usize,
    /// Acked by the subscriber, and held back.
    pub held: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Fits,
    /// The server has none left, and there is credit: nothing would come.
    GrowNow,
    /// There is credit for more than the server has.
    Grow,
    /// Acks make up for it, but not for long.
    Hold,
    /// More may come than there is credit for.
    Shrink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// So many of those held back can be told.
    pub release: usize,
    pub wish: Wish,
}

pub fn plan(counts: Counts) -> Plan {
    let target = counts.credit.saturating_sub(counts.old);
    let target = target.min(usize::from(PREFETCH_MAX));
    let surplus = counts.prefetch.saturating_sub(target);
    let plugs = surplus.min(counts.held);
    let free = counts.prefetch.saturating_sub(counts.own + plugs);
    let wish = if target > counts.prefetch {
        match free {
            0 => Wish::GrowNow,
            _ => Wish::Grow,
        }
    } else if surplus > plugs && free > 0 {
        Wish::Shrink
    } else if surplus > 0 {
        Wish::Hold
    } else {
        Wish::Fits
    };
    let release = counts.held - plugs;
    Plan { release, wish }
}

/// Prefetch of a consumer that takes the place of the one that there is.
pub fn prefetch(credit: usize, not_acked: usize) -> u16 {
    let room = credit.saturating_sub(not_acked);
    u16::try_from(room)
        .unwrap_or(PREFETCH_MAX)
        .min(PREFETCH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_make_up_for_less_credit() {
        for ((credit, prefetch, old, own, held), release, wish) in [
            // Nothing yet, and then credit.
            ((0, 0, 0, 0, 0), 0, Wish::Fits),
            ((32, 0, 0, 0, 0), 0, Wish::GrowNow),
            // The usual run: ten came, were acked, and take ten slots.
            ((32, 32, 0, 10, 0), 0, Wish::Fits),
            ((32, 32, 0, 0, 10), 10, Wish::Fits),
            ((22, 32, 0, 0, 10), 0, Wish::Hold),
            ((25, 32, 0, 0, 10), 3, Wish::Hold),
            // Less credit without acks.
            ((22, 32, 0, 0, 0), 0, Wish::Shrink),
            ((22, 32, 0, 0, 4), 0, Wish::Shrink),
            ((0, 10, 0, 1, 0), 0, Wish::Shrink),
            // More credit.
            ((10, 3, 0, 3, 0), 0, Wish::GrowNow),
            ((10, 3, 0, 1, 0), 0, Wish::Grow),
            // What an old consumer delivered takes from the credit.
            ((10, 4, 6, 4, 0), 0, Wish::Fits),
            ((10, 4, 5, 4, 0), 0, Wish::GrowNow),
            ((5, 0, 5, 0, 0), 0, Wish::Fits),
            // No more than the server is asked for at once.
            ((1 << 20, 2_000, 0, 2_000, 0), 0, Wish::Fits),
        ] {
            let counts = Counts {
                credit,
                prefetch,
                old,
                own,
                held,
            };
            assert_eq!(plan(counts), Plan { release, wish }, "{counts:?}");
        }
        assert_eq!(super::prefetch(10, 4), 6);
        assert_eq!(super::prefetch(4, 10), 0);
        assert_eq!(super::prefetch(1 << 20, 0), PREFETCH_MAX);
    }

    #[test]
    fn no_more_can_come_than_there_is_credit_for_unless_it_shrinks() {
        for (credit, prefetch) in (0..8).flat_map(|c| (0..8).map(move |p| (c, p))) {
            for (own, held) in (0..8).flat_map(|o| (0..8).map(move |h| (o, h))) {
                if own + held > prefetch {
                    continue;
                }
                let counts = Counts {
                    credit,
                    prefetch,
                    old: 0,
                    own,
                    held,
                };
                let Plan { release, wish } = plan(counts);
                let may_come = prefetch - own - (held - release);
                let fits = may_come <= credit.saturating_sub(own);
                assert!(fits || wish == Wish::Shrink, "{counts:?}");
                let stuck = may_come == 0 && own < credit;
                assert!(!stuck || wish == Wish::GrowNow, "{counts:?}");
            }
        }
    }
}
