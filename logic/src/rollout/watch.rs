//! What is being counted of versions that are being proven: written by dispatch with each attempt that ends, read by the
//! rollout service. It must stay small and short: dispatch waits for its lock.

use super::guard::{Verdict, judge};
use super::tally::Tally;
use parking_lot::Mutex;
use sengu_model::Time;
use sengu_model::release::{Cell, CellStatus, Guard, RuleStatus};
use std::collections::HashMap;
use tokio::sync::Notify;

/// Cells counted apart, per rule; what is beyond counts over all only.
const CELLS_MAX: usize = 4_096;
/// Cells shown.
const CELLS_SHOWN_MAX: usize = 50;
/// Tasks that nobody could take before a version counts as one that does not come up.
const REFUSED_MAX: u64 = 8;

/// Which task ended.
pub struct Key<'a> {
    pub kind: &'a str,
    pub version: &'a str,
    pub cell: &'a Cell,
}

/// How an attempt ended, as far as it says something of the worker. With its milliseconds.
#[derive(Clone, Copy)]
pub enum Ended {
    Good(Option<u64>),
    Bad(Option<u64>),
    /// No instance of it took the task.
    NotTaken,
}

/// All rules that are watched, by kind and rule.
#[derive(Default)]
pub struct Rollouts {
    rules: Mutex<HashMap<String, Vec<Watched>>>,
    /// Something was judged bad.
    pub alarm: Notify,
}

/// One rule while it is watched.
pub struct Watched {
    pub rule: String,
    pub version: String,
    pub replaces: String,
    pub guard: Guard,
    /// Of this step.
    pub step_at: Time,
    all: Pair,
    cells: HashMap<Cell, Pair>,
    not_taken: u64,
    /// Counted since it was last looked at.
    pub moved: bool,
}

#[derive(Default, Clone)]
struct Pair {
    seen: Tally,
    replaced: Tally,
    held: bool,
}

/// What has to be done about a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// These cells are bad: they go back.
    Cells(Vec<(Cell, String)>),
    /// All of it goes back.
    All(String),
}

impl Watched {
    pub fn new(rule: &str, version: &str, replaces: &str, guard: Guard, step_at: Time) -> Watched {
        Watched {
            rule: rule.to_owned(),
            version: version.to_owned(),
            replaces: replaces.to_owned(),
            guard,
            step_at,
            all: Pair::default(),
            cells: HashMap::new(),
            not_taken: 0,
            moved: true,
        }
    }

    /// A new step: its window counts from nothing. What the version in use did still counts.
    pub fn begin_step(&mut self, at: Time) {
        self.step_at = at;
        self.not_taken = 0;
        self.all.seen = Tally::default();
        for pair in self.cells.values_mut() {
            pair.seen = Tally::default();
        }
    }

    /// True when it is time to look.
    fn count(&mut self, key: &Key, ended: Ended) -> bool {
        let mine = *key.version == self.version;
        if !mine && *key.version != self.replaces {
            return false;
        }
        self.moved = true;
        let (failed, ms) = match ended {
            Ended::Good(ms) => (false, ms),
            Ended::Bad(ms) => (true, ms),
            Ended::NotTaken => {
                self.not_taken += u64::from(mine);
                return mine && self.not_taken >= REFUSED_MAX;
            }
        };
        let add = |pair: &mut Pair| {
            let tally = if mine {
                &mut pair.seen
            } else {
                &mut pair.replaced
            };
            tally.add(failed, ms);
        };
        let known = self.cells.len();
        match self.cells.get_mut(key.cell) {
            // What was out when its cell was held is no news.
            Some(pair) if pair.held && mine => return false,
            Some(pair) => add(pair),
            None if known < CELLS_MAX => {
                add(self.cells.entry(key.cell.clone()).or_default());
            }
            None => {}
        }
        add(&mut self.all);
        mine && (failed || self.all.seen.tasks.is_multiple_of(16))
    }

    /// What is bad about it now.
    pub fn findings(&self) -> Option<Finding> {
        if self.not_taken >= REFUSED_MAX && self.all.seen.tasks == self.all.seen.failed {
            return Some(Finding::All(format!(
                "no instance of it took any of {} tasks",
                self.not_taken
            )));
        }
        let mut bad: Vec<(Cell, String)> = Vec::new();
        let mut good = 0;
        for (cell, pair) in &self.cells {
            if pair.held || pair.seen.tasks == 0 {
                continue;
            }
            match judge(&self.guard, &pair.seen, &pair.replaced) {
                Verdict::Bad(why) => bad.push((cell.clone(), why)),
                Verdict::Fine | Verdict::Wait => {
                    good += u32::from(pair.seen.tasks > pair.seen.failed);
                }
            }
        }
        let held = self.cells.values().filter(|p| p.held).count();
        // Bad wherever it was tried enough to tell, or over all: it is the version, not the device.
        let everywhere =
            !bad.is_empty() && good == 0 && (bad.len() + held > 1 || self.cells.len() == 1);
        if everywhere || bad.is_empty() {
            if let Verdict::Bad(why) = judge(&self.guard, &self.all.seen, &self.all.replaced) {
                return Some(Finding::All(why));
            }
            if everywhere {
                let why = bad.first().map(|(cell, why)| format!("{cell}: {why}"));
                return Some(Finding::All(why.unwrap_or_default()));
            }
        }
        bad.sort();
        (!bad.is_empty()).then_some(Finding::Cells(bad))
    }

    /// The cell went back: what it did no longer speaks against the rest.
    pub fn hold(&mut self, cell: &Cell) {
        if let Some(pair) = self.cells.get_mut(cell)
            && !pair.held
        {
            pair.held = true;
            self.all.seen.without(&pair.seen);
            self.all.replaced.without(&pair.replaced);
        }
    }

    pub fn is_fine(&self) -> bool {
        judge(&self.guard, &self.all.seen, &self.all.replaced) == Verdict::Fine
    }

    /// Tasks of the version since this step.
    pub fn seen(&self) -> u64 {
        self.all.seen.tasks
    }

    pub fn tell(&self, status: &mut RuleStatus) {
        status.seen = self.all.seen.sample();
        status.replaced = self.all.replaced.sample();
        let mut cells: Vec<CellStatus> = self
            .cells
            .iter()
            .filter(|(_, pair)| pair.seen.tasks > 0)
            .map(|(cell, pair)| CellStatus {
                cell: cell.clone(),
                seen: pair.seen.sample(),
                replaced: pair.replaced.sample(),
                held: pair.held,
            })
            .collect();
        let ratio = |s: &CellStatus| s.seen.failed as f64 / s.seen.tasks.max(1) as f64;
        cells.sort_by(|a, b| {
            ratio(b)
                .total_cmp(&ratio(a))
                .then_with(|| a.cell.cmp(&b.cell))
        });
        cells.truncate(CELLS_SHOWN_MAX);
        status.cells = cells;
    }
}

impl Rollouts {
    pub fn count(&self, key: &Key, ended: Ended) {
        let mut look = false;
        if let Some(rules) = self.rules.lock().get_mut(key.kind) {
            for watched in rules {
                look |= watched.count(key, ended);
            }
        }
        if look {
            self.alarm.notify_one();
        }
    }

    /// Works on what is watched of one kind.
    pub fn of<T>(&self, kind: &str, work: impl FnOnce(&mut Vec<Watched>) -> T) -> T {
        let mut rules = self.rules.lock();
        let result = work(rules.entry(kind.to_owned()).or_default());
        if rules.get(kind).is_some_and(Vec::is_empty) {
            rules.remove(kind);
        }
        result
    }

    pub fn kinds(&self) -> Vec<String> {
        self.rules.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(firmware: &str) -> Cell {
        Cell {
            vendor: "Contoso".to_owned(),
            model: "M1".to_owned(),
            firmware: firmware.to_owned(),
            action: "observe".to_owned(),
        }
    }

    fn watched() -> Watched {
        Watched::new("r1", "1.5.0", "1.4.0", Guard::default(), Time(0))
    }

    fn feed(watched: &mut Watched, version: &str, firmware: &str, good: u64, bad: u64) {
        let cell = cell(firmware);
        let key = Key {
            kind: "redfish",
            version,
            cell: &cell,
        };
        for _ in 0..good {
            watched.count(&key, Ended::Good(Some(5)));
        }
        for _ in 0..bad {
            watched.count(&key, Ended::Bad(Some(5)));
        }
    }

    #[test]
    fn one_bad_firmware_is_held_and_the_rest_goes_on() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        feed(&mut watched, "1.4.0", "2.1", 100, 0);
        feed(&mut watched, "1.5.0", "2.1", 48, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 3);
        let found = watched.findings();
        let Some(Finding::Cells(cells)) = found else {
            panic!("{found:?}");
        };
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].0, cell("1.9"));
        assert!(cells[0].1.contains("3 of 3 tasks failed"), "{}", cells[0].1);
        watched.hold(&cells[0].0);
        assert_eq!(watched.findings(), None);
        assert!(!watched.is_fine(), "48 tasks are no window of 50");
        feed(&mut watched, "1.5.0", "1.9", 0, 5);
        feed(&mut watched, "1.5.0", "2.1", 2, 0);
        assert_eq!(
            watched.findings(),
            None,
            "what was out when it was held is no news"
        );
        assert!(watched.is_fine());
    }

    #[test]
    fn what_is_bad_everywhere_goes_back_as_a_whole() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 2);
        assert_eq!(watched.findings(), None);
        feed(&mut watched, "1.5.0", "2.1", 0, 2);
        // Neither cell alone has failed often enough; together they have.
        assert!(matches!(watched.findings(), Some(Finding::All(_))));
    }

    #[test]
    fn what_nobody_takes_goes_back() {
        let mut watched = watched();
        let cell = cell("1.9");
        let key = Key {
            kind: "redfish",
            version: "1.5.0",
            cell: &cell,
        };
        for _ in 0..REFUSED_MAX {
            assert_eq!(watched.findings(), None);
            watched.count(&key, Ended::NotTaken);
        }
        assert!(
            matches!(watched.findings(), Some(Finding::All(why)) if why.contains("no instance"))
        );
    }

    #[test]
    fn a_single_failing_cell_among_good_ones_never_takes_all_back() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        feed(&mut watched, "1.5.0", "2.1", 8, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 8);
        assert!(matches!(watched.findings(), Some(Finding::Cells(_))));
    }
}
