//! What is being counted of versions that are being proven: written by dispatch with each attempt that ends, read by the
//! rollout service. It must stay small and short: dispatch waits for its lock.

use super::guard::{Verdict, judge};
use super::tally::Tally;
use parking_lot::Mutex;
use sengu_model::Time;
use sengu_model::release::{Cell, CellStatus, Guard, RuleStatus};
use std::collections::{HashMap, HashSet};
use tokio::sync::Notify;

/// Cells counted apart, per rule; what is beyond counts over all only.
const CELLS_MAX: usize = 4_096;
/// Cells shown.
const CELLS_SHOWN_MAX: usize = 50;
/// A version of which nothing has ended well yet is given this long, in milliseconds: until then, cells of like devices
/// that fail are no sign that the others will.
const GOOD_NEWS_MAX_MS: u64 = 10_000;
/// A step waits this long, in milliseconds, for more tasks of a cell that only fails.
const UNDECIDED_MAX_MS: u64 = 60_000;
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
    /// Something was judged bad, or another Release is in force.
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
    /// Tasks that ended well in earlier steps.
    proven: u64,
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
            proven: 0,
            not_taken: 0,
            moved: true,
        }
    }

    /// Goes on from what was told before sengu was started again.
    pub fn restore(&mut self, told: &RuleStatus) {
        self.proven = told.proven;
        self.all.seen = Tally::of(&told.seen);
        self.all.replaced = Tally::of(&told.replaced);
        for told in &told.cells {
            let pair = Pair {
                seen: Tally::of(&told.seen),
                replaced: Tally::of(&told.replaced),
                held: told.held,
            };
            self.cells.insert(told.cell.clone(), pair);
        }
    }

    /// A new step: its window counts from nothing. What the version in use did still counts, and so does what only
    /// failed and was too little to be judged.
    pub fn begin_step(&mut self, at: Time) {
        self.step_at = at;
        self.not_taken = 0;
        self.proven += self.all.seen.good();
        self.all.seen = Tally::default();
        // Both are timed over the same time: a machine that is busy now is busy for both.
        self.all.replaced.forget_latency();
        for pair in self.cells.values_mut() {
            pair.replaced.forget_latency();
            if pair.held || !pair.seen.only_fails() {
                pair.seen = Tally::default();
            } else {
                self.all.seen.add_all(&pair.seen);
            }
        }
    }

    /// True when it is time to look.
    fn count(&mut self, key: &Key, ended: Ended) -> bool {
        // Whatever else does such tasks is what it is compared with.
        let mine = *key.version == self.version;
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
    pub fn findings(&self, now: Time) -> Option<Finding> {
        if self.not_taken >= REFUSED_MAX && self.all.seen.good() == 0 {
            return Some(Finding::All(format!(
                "no instance of it took any of {} tasks",
                self.not_taken
            )));
        }
        let tried = self.cells.iter().filter(|(_, pair)| !pair.held);
        let mut bad: Vec<(Cell, String)> = tried
            .filter_map(|(cell, pair)| Some((cell.clone(), self.why_bad(pair)?)))
            .collect();
        bad.sort();
        if let Some(why) = self.why_all(&bad, now) {
            return Some(Finding::All(why));
        }
        (!bad.is_empty()).then_some(Finding::Cells(bad))
    }

    fn why_bad(&self, pair: &Pair) -> Option<String> {
        match judge(&self.guard, &pair.seen, &pair.replaced) {
            Verdict::Bad(why) => Some(why),
            Verdict::Fine | Verdict::Wait => None,
        }
    }

    /// Why it is the version and not some of the devices, if so.
    fn why_all(&self, bad: &[(Cell, String)], now: Time) -> Option<String> {
        let is_bad = |cell: &Cell| bad.iter().any(|(other, _)| other == cell);
        let mut tried = self.cells.iter().filter(|(_, pair)| !pair.held);
        let good = tried.any(|(cell, pair)| pair.seen.good() > 0 && !is_bad(cell));
        if good && !bad.is_empty() {
            return None;
        }
        let first = || bad.first().map(|(cell, why)| format!("{cell}: {why}"));
        if good || self.proven > 0 {
            if bad.is_empty() {
                return self.why_bad(&self.without_hopeless());
            }
            // It did well in earlier steps and does nowhere now.
            let everywhere = firmwares(bad.iter().map(|(cell, _)| cell)) > 1;
            return everywhere.then(first).flatten();
        }
        // Nothing has ended well. Like devices fail alike and fast; others are given their time.
        let failing = self
            .cells
            .iter()
            .filter(|(_, p)| p.held || p.seen.failed > 0);
        let enough = firmwares(failing.map(|(cell, _)| cell)) > 1
            || firmwares(self.cells.keys()) == 1
            || now.ms_since(self.step_at) >= GOOD_NEWS_MAX_MS;
        if !enough {
            return None;
        }
        let held = self.cells.values().filter(|p| p.held).count();
        let several = bad.len() + held > 1 || self.cells.len() == 1;
        match bad.is_empty() {
            true if held > 1 => Some("nothing of it has ended well".to_owned()),
            true => self.why_bad(&self.all),
            false if several => self.why_bad(&self.all).or_else(first),
            false => None,
        }
    }

    /// A cell that only fails, other than by the version in use, but not often enough to be judged: a step waits for it.
    pub fn undecided(&self, now: Time) -> Option<String> {
        let waited = now.ms_since(self.step_at) >= self.guard.hold.ms + UNDECIDED_MAX_MS;
        let only_fails = |pair: &&Pair| {
            !pair.held && pair.seen.only_fails() && !pair.replaced.only_fails() && !waited
        };
        let mut cells = self.cells.iter().filter(|(_, pair)| only_fails(pair));
        let (cell, pair) = cells.next()?;
        let (failed, tasks) = (pair.seen.failed, pair.seen.tasks);
        Some(format!(
            "{failed} of {tasks} tasks of {cell} failed: one more will tell"
        ))
    }

    /// All but the cells that only fail: each of those is judged by itself, within a few tasks.
    fn without_hopeless(&self) -> Pair {
        let mut rest = self.all.clone();
        for pair in self
            .cells
            .values()
            .filter(|p| !p.held && p.seen.only_fails())
        {
            rest.seen.without(&pair.seen);
        }
        rest
    }

    /// These cells went back, and no others: what they did no longer speaks against the rest.
    pub fn hold_only(&mut self, cells: &[&Cell]) {
        for (cell, pair) in &mut self.cells {
            if pair.held && !cells.contains(&cell) {
                // Somebody wants it tried again.
                pair.held = false;
                pair.seen = Tally::default();
                self.all.replaced.add_all(&pair.replaced);
            }
        }
        for cell in cells {
            self.hold(cell);
        }
    }

    fn hold(&mut self, cell: &Cell) {
        if !self.cells.contains_key(cell) && self.cells.len() >= CELLS_MAX {
            return;
        }
        let pair = self.cells.entry(cell.clone()).or_default();
        if !pair.held {
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
        status.proven = self.proven;
        status.seen = self.all.seen.sample();
        status.replaced = self.all.replaced.sample();
        let mut cells: Vec<CellStatus> = self
            .cells
            .iter()
            .filter(|(_, pair)| pair.seen.tasks > 0 || pair.held)
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

/// How many kinds of firmware these cells have.
fn firmwares<'a>(cells: impl Iterator<Item = &'a Cell>) -> usize {
    let all: HashSet<(&str, &str)> = cells.map(|c| (&*c.vendor, &*c.firmware)).collect();
    all.len()
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
        let found = watched.findings(Time(0));
        let Some(Finding::Cells(cells)) = found else {
            panic!("{found:?}");
        };
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].0, cell("1.9"));
        assert!(cells[0].1.contains("3 of 3 tasks failed"), "{}", cells[0].1);
        watched.hold_only(&[&cells[0].0]);
        assert_eq!(watched.findings(Time(0)), None);
        assert!(!watched.is_fine(), "48 tasks are no window of 50");
        feed(&mut watched, "1.5.0", "1.9", 0, 5);
        feed(&mut watched, "1.5.0", "2.1", 2, 0);
        assert_eq!(
            watched.findings(Time(0)),
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
        assert_eq!(watched.findings(Time(0)), None);
        feed(&mut watched, "1.5.0", "2.1", 0, 2);
        // Neither cell alone has failed often enough; together they have.
        assert!(matches!(watched.findings(Time(0)), Some(Finding::All(_))));
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
            assert_eq!(watched.findings(Time(0)), None);
            watched.count(&key, Ended::NotTaken);
        }
        assert!(
            matches!(watched.findings(Time(0)), Some(Finding::All(why)) if why.contains("no instance"))
        );
    }

    #[test]
    fn a_single_failing_cell_among_good_ones_never_takes_all_back() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        feed(&mut watched, "1.5.0", "2.1", 8, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 8);
        assert!(matches!(watched.findings(Time(0)), Some(Finding::Cells(_))));
    }

    #[test]
    fn like_devices_that_fail_first_do_not_speak_for_the_others() {
        let model = |firmware: &str, model: &str| Cell {
            model: model.to_owned(),
            ..cell(firmware)
        };
        let count = |watched: &mut Watched, version: &str, cell: &Cell, bad: u64| {
            let key = Key {
                kind: "redfish",
                version,
                cell,
            };
            for n in 0..bad.max(1) {
                let ended = match n < bad {
                    true => Ended::Bad(Some(5)),
                    false => Ended::Good(Some(5)),
                };
                watched.count(&key, ended);
            }
        };
        let (m1, m2, other) = (model("1.9", "M1"), model("1.9", "M2"), cell("2.1"));
        let mut watched = watched();
        count(&mut watched, "1.4.0", &other, 0);
        count(&mut watched, "1.5.0", &m1, 2);
        count(&mut watched, "1.5.0", &m2, 1);
        assert_eq!(
            watched.findings(Time(0)),
            None,
            "three of three, all of one firmware"
        );
        let late = Time(10_000_000);
        assert!(
            matches!(watched.findings(late), Some(Finding::All(_))),
            "nothing good was heard for a while"
        );
        count(&mut watched, "1.5.0", &m1, 1);
        count(&mut watched, "1.5.0", &m2, 2);
        let found = watched.findings(Time(0));
        assert!(
            matches!(&found, Some(Finding::Cells(cells)) if cells.len() == 2),
            "{found:?}"
        );

        // What two models did, with others that do well.
        let mut watched = self::watched();
        count(&mut watched, "1.5.0", &m1, 2);
        count(&mut watched, "1.5.0", &m2, 2);
        count(&mut watched, "1.5.0", &other, 0);
        assert_eq!(
            watched.findings(Time(0)),
            None,
            "{:?}",
            watched.findings(Time(0))
        );
    }

    #[test]
    fn what_was_proven_in_earlier_steps_or_before_a_restart_still_counts() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "2.1", 100, 0);
        feed(&mut watched, "1.5.0", "2.1", 60, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 3);
        let Some(Finding::Cells(_)) = watched.findings(Time(0)) else {
            panic!("the cell goes back");
        };
        watched.hold_only(&[&cell("1.9")]);
        let mut told = RuleStatus::default();
        watched.tell(&mut told);
        told.begin_step(Time(1));
        watched.begin_step(Time(1));
        let mut again = self::watched();
        again.restore(&told);
        again.hold_only(&[&cell("1.9")]);
        for mut watched in [watched, again] {
            feed(&mut watched, "1.5.0", "1.8", 0, 3);
            let found = watched.findings(Time(1));
            assert!(
                matches!(&found, Some(Finding::Cells(c)) if c[0].0 == cell("1.8")),
                "{found:?}"
            );
            // Bad everywhere since that step.
            feed(&mut watched, "1.5.0", "2.1", 0, 3);
            assert!(matches!(watched.findings(Time(1)), Some(Finding::All(_))));
        }
    }

    #[test]
    fn a_cell_that_fails_a_little_in_each_step_is_not_forgotten() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        feed(&mut watched, "1.5.0", "2.1", 60, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 2);
        assert!(watched.is_fine());
        let why = watched.undecided(Time(0)).unwrap();
        assert!(why.starts_with("2 of 2 tasks of vendor=Contoso"), "{why}");
        assert_eq!(watched.undecided(Time(600_000_000)), None, "not for ever");
        let mut told = RuleStatus::default();
        watched.tell(&mut told);
        told.begin_step(Time(1));
        let mut again = self::watched();
        again.restore(&told);
        watched.begin_step(Time(1));
        for mut watched in [watched, again] {
            feed(&mut watched, "1.4.0", "1.9", 1, 0);
            feed(&mut watched, "1.5.0", "2.1", 10, 0);
            assert_eq!(watched.findings(Time(1)), None);
            feed(&mut watched, "1.5.0", "1.9", 0, 1);
            let found = watched.findings(Time(1));
            assert!(
                matches!(&found, Some(Finding::Cells(c)) if c[0].0 == cell("1.9")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn slow_everywhere_is_bad_as_a_whole() {
        let mut watched = watched();
        feed(&mut watched, "1.4.0", "1.9", 100, 0);
        let cell = cell("1.9");
        let key = Key {
            kind: "redfish",
            version: "1.5.0",
            cell: &cell,
        };
        for _ in 0..40 {
            watched.count(&key, Ended::Good(Some(500)));
        }
        let found = watched.findings(Time(0));
        assert!(
            matches!(&found, Some(Finding::All(why)) if why.contains("take up to")),
            "{found:?}"
        );
    }

    #[test]
    fn a_cell_that_is_tried_again_counts_again() {
        let mut watched = watched();
        feed(&mut watched, "1.5.0", "2.1", 10, 0);
        feed(&mut watched, "1.5.0", "1.9", 0, 3);
        watched.hold_only(&[&cell("1.9")]);
        watched.hold_only(&[]);
        assert_eq!(watched.findings(Time(0)), None);
        feed(&mut watched, "1.5.0", "1.9", 0, 3);
        assert!(matches!(watched.findings(Time(0)), Some(Finding::Cells(_))));
    }
}
