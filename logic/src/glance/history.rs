//! How many tasks ended in each half minute of the last hour, and how many a second end now.

use super::overview::TaskHistory;
use parking_lot::Mutex;
use sengu_model::Time;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

pub const STEP: Duration = Duration::from_secs(30);
/// Of an hour.
const STEPS: usize = 120;
/// A rate is of the time since a look at least this old, where there is one.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Looks kept for that; one a second is the most there are.
const LOOKS_MAX: usize = 16;

/// Tasks that ended and, of those, not done; observations of schedules that ended. Since the start.
pub type Totals = (u64, u64, u64);

#[derive(Default)]
pub struct History(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// What ended in each step, oldest first.
    steps: VecDeque<Totals>,
    /// When the last step ended, and the totals then.
    last: Option<(Time, Totals)>,
    looks: VecDeque<(Instant, Totals)>,
}

impl History {
    /// A step is over.
    pub fn step(&self, totals: Totals, now: Time) {
        let mut inner = self.0.lock();
        if let Some((_, before)) = inner.last.replace((now, totals)) {
            if inner.steps.len() == STEPS {
                inner.steps.pop_front();
            }
            inner.steps.push_back(difference(totals, before));
        }
        inner.look(totals);
    }

    /// The last hour; the step that goes on now is the last one.
    pub fn seen(&self, totals: Totals, now: Time) -> TaskHistory {
        let inner = self.0.lock();
        let (since, before) = inner.last.unwrap_or((now, totals));
        let going_on = difference(totals, before);
        let known = inner.steps.iter().chain([&going_on]);
        let known: Vec<Totals> = known.copied().collect();
        let known = &known[known.len().saturating_sub(STEPS)..];
        let column = |of: fn(&Totals) -> u64| {
            let mut column = vec![0; STEPS - known.len()];
            column.extend(known.iter().map(of));
            column
        };
        let step_ms = STEP.as_millis() as i64;
        TaskHistory {
            step_seconds: STEP.as_secs() as u32,
            from: Time(since.0 - step_ms * (STEPS as i64 - 1)),
            ended: column(|t| t.0),
            not_done: column(|t| t.1),
        }
    }

    /// The same a second.
    pub fn rates(&self, totals: Totals) -> (f64, f64, f64) {
        let mut inner = self.0.lock();
        inner.look(totals);
        let (Some((from, before)), Some((to, _))) =
            (inner.looks.front().copied(), inner.looks.back().copied())
        else {
            return (0.0, 0.0, 0.0);
        };
        let seconds = to.duration_since(from).as_secs_f64();
        if seconds < 0.5 {
            return (0.0, 0.0, 0.0);
        }
        let (ended, not_done, observed) = difference(totals, before);
        let rate = |n: u64| (n as f64 / seconds * 10.0).round() / 10.0;
        (rate(ended), rate(not_done), rate(observed))
    }
}

impl Inner {
    fn look(&mut self, totals: Totals) {
        let now = Instant::now();
        self.looks.push_back((now, totals));
        // The oldest that is kept is the newest that is old enough.
        let enough = |look: &(Instant, Totals)| now.duration_since(look.0) >= RATE_OVER;
        while self.looks.len() > LOOKS_MAX || self.looks.get(1).is_some_and(enough) {
            self.looks.pop_front();
        }
    }
}

fn difference(now: Totals, before: Totals) -> Totals {
    (
        now.0.saturating_sub(before.0),
        now.1.saturating_sub(before.1),
        now.2.saturating_sub(before.2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_is_kept_oldest_first() {
        let history = History::default();
        let start = 1_000_000_000;
        for n in 0..=200_u64 {
            history.step((n * 10, n, 0), Time(start + 30_000 * n as i64));
        }
        let now = Time(start + 30_000 * 200 + 5_000);
        let seen = history.seen((2_003, 201, 0), now);
        assert_eq!((seen.ended.len(), seen.not_done.len()), (STEPS, STEPS));
        assert_eq!(seen.ended[0], 10);
        assert_eq!(seen.ended[STEPS - 2..], [10, 3]);
        assert_eq!(seen.not_done[STEPS - 2..], [1, 1]);
        assert_eq!(seen.from, Time(start + 30_000 * (200 - 119)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_before_the_start_is_zero() {
        let history = History::default();
        history.step((0, 0, 0), Time(0));
        let seen = history.seen((7, 2, 0), Time(10_000));
        assert_eq!(seen.ended.iter().sum::<u64>(), 7);
        assert_eq!(seen.ended[STEPS - 1], 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_of_the_last_seconds() {
        let history = History::default();
        history.step((0, 0, 0), Time(0));
        for second in 1..=60_u64 {
            tokio::time::advance(Duration::from_secs(1)).await;
            // Nothing for half a minute, then 50 a second.
            let ended = second.saturating_sub(30) * 50;
            let (rate, bad, observed) = history.rates((ended, ended / 50, second * 7));
            let expected = if second <= 30 { 0.0 } else { 50.0 };
            if second > 41 || second <= 30 {
                assert!((rate - expected).abs() < 0.1, "{second}: {rate}");
                assert!((bad - expected / 50.0).abs() < 0.11);
                assert!(second == 1 || (observed - 7.0).abs() < 0.8, "{observed}");
            }
        }
    }
}
