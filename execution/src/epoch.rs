//! What this WEE knows of logic's life: which epoch is in force, and how far its clock is from this one. What comes with
//! an older epoch is not begun and not obeyed, so that a logic role which was paused while another one took over can do
//! no harm when it wakes up.

use crate::directory::News;
use crate::shell::Shell;
use sengu_model::Time;
use sengu_model::wire::envelope::{LOGIC, LogicAnnouncement};

/// Clocks that differ by less are taken for equal: what was said may have been on its way so long.
const SKEW_MIN_MS: i64 = 2_000;

/// The newest life of logic that was heard of.
#[derive(Debug, Default)]
pub struct LogicLife {
    epoch: u64,
    /// What is to be added to the clock here for that of logic.
    skew_ms: i64,
}

impl LogicLife {
    /// Takes over what logic says. `fresh`: it was said just now, so it tells the time as well; what was kept only tells
    /// that it is not earlier. True when its clock was found to differ otherwise than before.
    fn hear(&mut self, said: &LogicAnnouncement, fresh: bool, here: Time) -> bool {
        if said.epoch < self.epoch {
            return false;
        }
        self.epoch = said.epoch;
        let off = said.at.0.saturating_sub(here.0);
        if !fresh && off < self.skew_ms.saturating_add(SKEW_MIN_MS) {
            return false;
        }
        let skew_ms = if off.abs() < SKEW_MIN_MS { 0 } else { off };
        let moved = (skew_ms - self.skew_ms).abs() >= SKEW_MIN_MS;
        // What was long on its way must not make the clock jump to and fro.
        if moved || skew_ms == 0 {
            self.skew_ms = skew_ms;
        }
        moved
    }

    /// Whether it is of a life that another one has ended.
    pub fn is_over(&self, epoch: u64) -> bool {
        epoch < self.epoch
    }

    /// Logic's clock, when it is `here` on this one.
    pub fn clock(&self, here: Time) -> Time {
        Time(here.0.saturating_add(self.skew_ms))
    }
}

impl Shell {
    pub fn on_logic(&mut self, news: &News) {
        for (key, value) in &news.entries {
            let Some(value) = value.as_ref().filter(|_| key == LOGIC) else {
                continue;
            };
            match serde_json::from_slice::<LogicAnnouncement>(value) {
                Ok(said) => {
                    if self.logic.hear(&said, !news.all, crate::clock::now()) {
                        let skew_ms = self.logic.skew_ms;
                        tracing::warn!(
                            skew_ms,
                            "the clock here and that of logic differ; logic's is used"
                        );
                    }
                }
                Err(error) => tracing::warn!(%error, "what logic says of itself is not understood"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(epoch: u64, at: i64) -> LogicAnnouncement {
        LogicAnnouncement {
            v: 1,
            epoch,
            sengu_version: String::new(),
            at: Time(at),
        }
    }

    #[test]
    fn an_older_life_is_over_and_says_nothing_more() {
        let mut logic = LogicLife::default();
        assert!(!logic.is_over(0));
        logic.hear(&said(7, 0), false, Time(9_000_000));
        assert!(logic.is_over(6) && !logic.is_over(7) && !logic.is_over(8));
        assert!(!logic.hear(&said(6, 5_000), true, Time(0)));
        assert_eq!(logic.clock(Time(0)), Time(0));
    }

    #[test]
    fn clocks_that_differ_are_noticed_once_and_what_was_kept_tells_no_time() {
        let mut logic = LogicLife::default();
        let hour = 3_600_000;
        assert!(!logic.hear(&said(1, 0), false, Time(hour)), "it was kept");
        assert_eq!(logic.clock(Time(hour)), Time(hour));
        let mut behind = LogicLife::default();
        assert!(behind.hear(&said(1, hour), false, Time(0)), "not earlier");
        assert_eq!(behind.clock(Time(5)), Time(hour + 5));
        assert!(
            !logic.hear(&said(1, hour - 900), true, Time(hour)),
            "under way"
        );
        assert_eq!(logic.clock(Time(hour)), Time(hour));
        assert!(logic.hear(&said(1, hour), true, Time(2 * hour)));
        assert_eq!(logic.clock(Time(2 * hour)), Time(hour));
        assert!(!logic.hear(&said(1, hour + 100), true, Time(2 * hour + 700)));
        assert_eq!(logic.clock(Time(2 * hour)), Time(hour), "as it was");
        assert!(
            logic.hear(&said(1, 2 * hour), true, Time(2 * hour)),
            "set right"
        );
        assert_eq!(logic.clock(Time(5)), Time(5));
    }
}
