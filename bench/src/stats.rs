//! Order statistics, computed as the peers' scripts do.

/// Durations in milliseconds.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn add(&mut self, ms: f64) {
        self.0.push(ms);
    }

    pub fn extend(&mut self, others: &Latencies) {
        self.0.extend_from_slice(&others.0);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which `share` (0 to 1) of all lie; NaN of none.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // Truncation is meant: the index of the last value within the share.
        let at = (sorted.len() as f64 * share) as usize;
        let last = sorted.len().checked_sub(1);
        last.map_or(f64::NAN, |last| sorted[at.min(last)])
    }

    pub fn max(&self) -> f64 {
        self.percentile(1.0)
    }
}

/// The one in the middle (of an even number, the greater); NaN of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut all = Latencies::default();
    for value in values {
        all.add(value);
    }
    all.percentile(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut l = Latencies::default();
        assert!(l.percentile(0.5).is_nan());
        for ms in (1..=100).rev() {
            l.add(f64::from(ms));
        }
        let seen = [0.0, 0.5, 0.99, 1.0].map(|p| l.percentile(p));
        assert_eq!(seen, [1.0, 51.0, 100.0, 100.0]);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    }
}
