//! Which registers are asked for together: as few requests as the device allows.
//!
//! Pure. A batch must never reach across a register that the device refuses, nor bridge more than the declared gap.

use crate::frame::{BITS_PER_READ_MAX, Table};
use std::collections::BTreeSet;

/// Where a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub table: Table,
    pub address: u16,
    /// Registers, or bits of a table of bits; at least 1.
    pub count: u16,
}

impl Place {
    /// One past the last; a table has 65,536 addresses.
    pub fn end(self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Registers in one request, 1 to 125.
    pub registers: u16,
    /// Registers that no point wants and that may be read along, between two points.
    pub gap: u16,
}

/// One request, and the points (indexes into the map) whose values are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub table: Table,
    pub address: u16,
    pub count: u16,
    pub points: Vec<usize>,
}

/// What a device has taught about itself by refusing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// Points that it does not have. No batch reaches across them.
    pub refused: BTreeSet<usize>,
    /// Addresses at which a batch must begin anew.
    cuts: BTreeSet<(Table, u16)>,
}

/// The requests that give all `wanted` points that are not known to be refused. `places` are those of the whole map.
pub fn plan(places: &[Place], wanted: &[usize], limits: Limits, learnt: &Learnt) -> Vec<Batch> {
    let mut order: Vec<usize> = wanted
        .iter()
        .copied()
        .filter(|at| *at < places.len() && !learnt.refused.contains(at))
        .collect();
    order.sort_by_key(|at| (places[*at].table, places[*at].address, places[*at].count));
    order.dedup();
    let mut batches: Vec<Batch> = Vec::new();
    for at in order {
        let place = places[at];
        match batches.last_mut() {
            Some(batch) if joins(batch, place, places, limits, learnt) => {
                let end = batch.end().max(place.end());
                // Within the limit of one request, so within u16.
                batch.count = u16::try_from(end - u32::from(batch.address)).unwrap_or(u16::MAX);
                batch.points.push(at);
            }
            _ => batches.push(Batch {
                table: place.table,
                address: place.address,
                count: place.count,
                points: vec![at],
            }),
        }
    }
    batches
}

fn joins(batch: &Batch, place: Place, places: &[Place], limits: Limits, learnt: &Learnt) -> bool {
    let end = batch.end().max(place.end());
    let count_max = if place.table.is_bits() {
        BITS_PER_READ_MAX
    } else {
        limits.registers
    };
    let gap = u32::from(place.address).saturating_sub(batch.end());
    if batch.table != place.table
        || end - u32::from(batch.address) > u32::from(count_max)
        || gap > u32::from(limits.gap)
    {
        return false;
    }
    let mut cuts = learnt
        .cuts
        .range((batch.table, batch.address.saturating_add(1))..)
        .take_while(|(table, _)| *table == batch.table);
    if cuts.next().is_some_and(|(_, cut)| u32::from(*cut) < end) {
        return false;
    }
    !learnt.refused.iter().any(|at| {
        places.get(*at).is_some_and(|refused| {
            refused.table == batch.table
                && u32::from(refused.address) < end
                && refused.end() > u32::from(batch.address)
        })
    })
}

impl Batch {
    fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

impl Learnt {
    /// The device refused `batch` for what is in it. Gives smaller ones to try instead; none when the blame is found.
    pub fn split(&mut self, places: &[Place], batch: &Batch) -> Vec<Batch> {
        // Between groups, no register is shared.
        let mut groups: Vec<(Vec<usize>, u32)> = Vec::new();
        let mut gaps = Vec::new();
        for at in &batch.points {
            let place = places[*at];
            match groups.last_mut() {
                Some((points, end)) if u32::from(place.address) < *end => {
                    points.push(*at);
                    *end = (*end).max(place.end());
                }
                last => {
                    let bridged = last.is_some_and(|(_, end)| *end < u32::from(place.address));
                    if bridged {
                        gaps.push(groups.len());
                    }
                    groups.push((vec![*at], place.end()));
                }
            }
        }
        // What lies between the points is the first suspect, then one half or the other.
        let at: Vec<usize> = match (gaps.is_empty(), groups.len()) {
            (false, _) => gaps,
            (true, 0 | 1) => {
                self.refused.extend(&batch.points);
                return Vec::new();
            }
            (true, many) => vec![many / 2],
        };
        let mut parts = Vec::new();
        let mut from = 0;
        for to in at.into_iter().chain([groups.len()]) {
            let part = &groups[from..to];
            let points: Vec<usize> = part.iter().flat_map(|(points, _)| points.clone()).collect();
            let (Some(first), Some((_, end))) = (points.first(), part.last()) else {
                continue;
            };
            let address = places[*first].address;
            if from > 0 {
                self.cuts.insert((batch.table, address));
            }
            parts.push(Batch {
                table: batch.table,
                address,
                count: u16::try_from(end - u32::from(address)).unwrap_or(u16::MAX),
                points,
            });
            from = to;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(table: Table, address: u16, count: u16) -> Place {
        Place {
            table,
            address,
            count,
        }
    }

    fn inputs(list: &[(u16, u16)]) -> Vec<Place> {
        list.iter()
            .map(|(address, count)| place(Table::Input, *address, *count))
            .collect()
    }

    fn shown(batches: &[Batch]) -> String {
        let one = |b: &Batch| format!("{} {}+{}", b.table, b.address, b.count);
        batches.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn all(places: &[Place]) -> Vec<usize> {
        (0..places.len()).collect()
    }

    #[test]
    fn neighbours_are_read_together_within_gap_and_size() {
        type Case = (&'static [(u16, u16)], u16, u16, &'static str);
        let table: [Case; 9] = [
            (&[(0, 2), (2, 2), (4, 2)], 125, 0, "input 0+6"),
            (&[(4, 2), (0, 2), (2, 2)], 125, 0, "input 0+6"),
            (&[(0, 2), (3, 1)], 125, 0, "input 0+2, input 3+1"),
            (&[(0, 2), (3, 1)], 125, 1, "input 0+4"),
            (&[(0, 1), (10, 1)], 125, 8, "input 0+1, input 10+1"),
            (&[(0, 1), (10, 1)], 125, 9, "input 0+11"),
            (
                &[(0, 100), (100, 25), (125, 1)],
                125,
                0,
                "input 0+125, input 125+1",
            ),
            (&[(0, 4), (4, 4), (8, 4)], 8, 0, "input 0+8, input 8+4"),
            // Bits of one register, and a point within another.
            (
                &[(5, 1), (5, 1), (4, 4), (65_535, 1)],
                125,
                0,
                "input 4+4, input 65535+1",
            ),
        ];
        for (list, registers, gap, expected) in table {
            let places = inputs(list);
            let limits = Limits { registers, gap };
            let batches = plan(&places, &all(&places), limits, &Learnt::default());
            assert_eq!(shown(&batches), expected);
            let covered: usize = batches.iter().map(|b| b.points.len()).sum();
            assert_eq!(covered, places.len(), "every point exactly once");
        }
    }

    #[test]
    fn tables_are_never_mixed_and_bits_have_their_own_limit() {
        let places = [
            place(Table::Input, 0, 1),
            place(Table::Holding, 1, 1),
            place(Table::Coil, 0, 1),
            place(Table::Coil, 1_000, 1),
        ];
        let limits = Limits {
            registers: 125,
            gap: 1_000,
        };
        let batches = plan(&places, &all(&places), limits, &Learnt::default());
        assert_eq!(shown(&batches), "coil 0+1001, holding 1+1, input 0+1");
    }

    /// A device that answers only for `has`, and at most `most` registers at once.
    fn explore(
        places: &[Place],
        has: &[std::ops::Range<u16>],
        most: u16,
    ) -> (Learnt, usize, String) {
        let limits = Limits {
            registers: 125,
            gap: 16,
        };
        let mut learnt = Learnt::default();
        let mut queue = plan(places, &all(places), limits, &learnt);
        let mut requests = 0;
        let mut read = BTreeSet::new();
        while let Some(batch) = queue.pop() {
            requests += 1;
            assert!(requests <= places.len() * 4, "it ends");
            let all_there = (batch.address..batch.address + batch.count)
                .all(|at| has.iter().any(|range| range.contains(&at)));
            if all_there && batch.count <= most {
                read.extend(batch.points);
            } else {
                queue.extend(learnt.split(places, &batch));
            }
        }
        assert_eq!(read.len() + learnt.refused.len(), places.len());
        let next = plan(places, &all(places), limits, &learnt);
        for batch in &next {
            let there = (batch.address..batch.address + batch.count)
                .all(|at| has.iter().any(|range| range.contains(&at)));
            assert!(
                there && batch.count <= most,
                "the next round is refused nothing"
            );
        }
        (learnt, requests, shown(&next))
    }

    #[test]
    fn a_refusal_is_narrowed_down_to_the_gap_the_size_or_the_point() {
        // A gap that cannot be bridged.
        let places = inputs(&[(0, 2), (2, 2), (10, 2), (12, 2)]);
        let (learnt, requests, next) = explore(&places, &[0..4, 10..14], 125);
        assert_eq!((requests, next.as_str()), (3, "input 0+4, input 10+4"));
        assert!(learnt.refused.is_empty());
        // A point that is not there: the others are still read, and never across it.
        let places = inputs(&[(0, 2), (2, 2), (4, 2), (6, 2)]);
        let (learnt, _, _) = explore(&places, &[0..4, 6..8], 125);
        assert_eq!(learnt.refused, BTreeSet::from([2]));
        // A device with a smaller limit than it should have.
        let places = inputs(&[(0, 2), (2, 2), (4, 2), (6, 2)]);
        let (learnt, _, next) = explore(&places, &[0..4, 4..8], 4);
        assert_eq!(next, "input 0+4, input 4+4");
        assert!(learnt.refused.is_empty());
        // Nothing at all; bits of one register stand and fall together.
        let places = inputs(&[(0, 1), (0, 1), (1, 1)]);
        let (learnt, requests, next) = explore(&places, &[], 125);
        assert_eq!((requests, next.as_str(), learnt.refused.len()), (3, "", 3));
    }

    #[test]
    fn a_gap_with_a_refused_point_is_not_bridged() {
        let places = inputs(&[(0, 1), (1, 1), (2, 1)]);
        let limits = Limits {
            registers: 125,
            gap: 125,
        };
        let learnt = Learnt {
            refused: BTreeSet::from([1]),
            ..Learnt::default()
        };
        let batches = plan(&places, &[0, 1, 2], limits, &learnt);
        assert_eq!(shown(&batches), "input 0+1, input 2+1");
    }
}
