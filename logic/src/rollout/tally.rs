//! What is counted of the tasks of one version. Pure.

use sengu_model::release::Sample;

/// Two buckets per doubling, from 1 ms to 2^23 ms.
const BUCKETS: usize = 48;

#[derive(Debug, Clone)]
pub struct Tally {
    pub tasks: u64,
    pub failed: u64,
    latency: [u32; BUCKETS],
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            tasks: 0,
            failed: 0,
            latency: [0; BUCKETS],
        }
    }
}

fn bucket(ms: u64) -> usize {
    let ms = ms.max(1);
    let octave = ms.ilog2() as usize;
    // The upper half of an octave begins at 1.5 times its start.
    let upper = usize::from(2 * ms >= 3 << octave);
    (2 * octave + upper).min(BUCKETS - 1)
}

/// The greatest latency that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let octave = bucket / 2;
    match bucket % 2 {
        0 => ((3_u64 << octave) / 2).max(1),
        _ => 2 << octave,
    }
}

impl Tally {
    pub fn add(&mut self, failed: bool, latency_ms: Option<u64>) {
        self.tasks += 1;
        self.failed += u64::from(failed);
        if let Some(ms) = latency_ms {
            let slot = &mut self.latency[bucket(ms)];
            *slot = slot.saturating_add(1);
        }
    }

    /// How many latencies are known.
    pub fn timed(&self) -> u64 {
        self.latency.iter().map(|n| u64::from(*n)).sum()
    }

    /// How many took longer, as far as is known.
    pub fn slower_than(&self, ms: u64) -> u64 {
        let buckets = self.latency.iter().enumerate();
        let slower = buckets.filter(|(i, _)| upper_bound(*i) > ms);
        slower.map(|(_, n)| u64::from(*n)).sum()
    }

    /// The latency that this part (0..=1) of the tasks stayed below, to within a third.
    pub fn quantile_ms(&self, part: f64) -> Option<u64> {
        let all = self.timed();
        if all == 0 {
            return None;
        }
        let rank = ((all as f64 * part).ceil() as u64).clamp(1, all);
        let mut seen = 0;
        for (i, count) in self.latency.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(upper_bound(i));
            }
        }
        None
    }

    pub fn sample(&self) -> Sample {
        Sample {
            tasks: self.tasks,
            failed: self.failed,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
        }
    }

    /// What is left of a tally that was told: how long tasks took is not.
    pub fn of(sample: &Sample) -> Tally {
        Tally {
            tasks: sample.tasks,
            failed: sample.failed,
            ..Tally::default()
        }
    }

    /// How long tasks took no longer counts; how they ended does.
    pub fn forget_latency(&mut self) {
        self.latency = [0; BUCKETS];
    }

    pub fn good(&self) -> u64 {
        self.tasks.saturating_sub(self.failed)
    }

    /// Nothing of it ended well, and something failed.
    pub fn only_fails(&self) -> bool {
        self.failed > 0 && self.good() == 0
    }

    pub fn add_all(&mut self, more: &Tally) {
        self.tasks += more.tasks;
        self.failed += more.failed;
        for (mine, other) in self.latency.iter_mut().zip(&more.latency) {
            *mine = mine.saturating_add(*other);
        }
    }

    /// Takes out what another tally holds too.
    pub fn without(&mut self, part: &Tally) {
        self.tasks = self.tasks.saturating_sub(part.tasks);
        self.failed = self.failed.saturating_sub(part.failed);
        for (mine, other) in self.latency.iter_mut().zip(&part.latency) {
            *mine = mine.saturating_sub(*other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_within_a_third() {
        for ms in [1_u64, 2, 3, 5, 10, 100, 1_000, 59_000, 3_600_000] {
            let mut tally = Tally::default();
            for _ in 0..90 {
                tally.add(false, Some(ms));
            }
            for _ in 0..10 {
                tally.add(true, Some(8 * ms));
            }
            let p50 = tally.quantile_ms(0.5).unwrap();
            assert!(p50 >= ms && p50 <= ms + ms / 2 + 1, "{ms}: {p50}");
            assert!(tally.quantile_ms(0.95).unwrap() >= 8 * ms.min(1 << 20));
            assert_eq!((tally.tasks, tally.failed), (100, 10));
        }
        assert_eq!(Tally::default().quantile_ms(0.9), None);
    }
}
