//! Whether a version that is being released is good or bad. Pure: what was counted of it and of the version that it
//! replaces goes in, a verdict with its numbers comes out.

use super::tally::Tally;
use sengu_model::release::Guard;

/// Failures are called too many when chance alone would give as many less often than this.
const CHANCE: f64 = 0.01;
/// Latencies are compared from this many tasks on.
const TIMED_MIN: u64 = 20;
/// Differences below this are noise of the machine, in milliseconds.
const LATENCY_NOISE_MS: u64 = 50;

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Too little is known.
    Wait,
    Fine,
    /// Why, with the numbers.
    Bad(String),
}

/// Judges `seen`, of the new version, beside `replaced`, of the version in use, in the same cell or over all.
pub fn judge(guard: &Guard, seen: &Tally, replaced: &Tally) -> Verdict {
    if let Some(why) = too_many_failures(guard, seen, replaced) {
        return Verdict::Bad(why);
    }
    if let Some(why) = too_slow(guard, seen, replaced) {
        return Verdict::Bad(why);
    }
    if seen.tasks >= u64::from(guard.window) {
        Verdict::Fine
    } else {
        Verdict::Wait
    }
}

fn too_many_failures(guard: &Guard, seen: &Tally, replaced: &Tally) -> Option<String> {
    if seen.failed < u64::from(guard.min_failures.max(1)) {
        return None;
    }
    // What the devices themselves do wrong is what the version in use meets too.
    let usual = if replaced.tasks == 0 {
        0.0
    } else {
        replaced.failed as f64 / replaced.tasks as f64
    };
    let borne = (usual + guard.max_failures).clamp(0.0, 1.0);
    if at_least(seen.failed, seen.tasks, borne) >= CHANCE {
        return None;
    }
    let before = match replaced.tasks {
        0 => "nothing to compare with".to_owned(),
        tasks => format!("the version in use: {} of {tasks}", replaced.failed),
    };
    Some(format!(
        "{} of {} tasks failed ({before}; {:.1} % more are borne)",
        seen.failed,
        seen.tasks,
        guard.max_failures * 100.0
    ))
}

fn too_slow(guard: &Guard, seen: &Tally, replaced: &Tally) -> Option<String> {
    if seen.timed() < TIMED_MIN || replaced.timed() < TIMED_MIN || guard.max_latency <= 0.0 {
        return None;
    }
    let (mine, usual) = (seen.quantile_ms(0.9)?, replaced.quantile_ms(0.9)?);
    let most = (usual as f64 * guard.max_latency) as u64 + LATENCY_NOISE_MS;
    // Of few tasks some are slow by chance: of the version in use one in ten is slower than `usual` even.
    let by_chance = at_least(seen.slower_than(most), seen.timed(), 0.1) >= CHANCE;
    (mine > most && !by_chance).then(|| {
        format!(
            "9 of 10 tasks take up to {mine} ms (the version in use: {usual} ms; {} times that are borne)",
            guard.max_latency
        )
    })
}

/// The chance of `failed` or more failures in `tasks` when each fails with chance `p`: the upper tail of the binomial.
fn at_least(failed: u64, tasks: u64, p: f64) -> f64 {
    if failed == 0 || p >= 1.0 {
        return 1.0;
    }
    if p <= 0.0 {
        return 0.0;
    }
    // Terms from `failed` on shrink once past the mean; before it the tail is large anyway.
    if (failed as f64) <= tasks as f64 * p {
        return 1.0;
    }
    let mut log_term = ln_choose(tasks, failed)
        + failed as f64 * p.ln()
        + (tasks - failed) as f64 * (1.0 - p).ln();
    let mut sum = 0.0;
    for k in failed..=tasks {
        let term = log_term.exp();
        sum += term;
        if term < sum * 1e-9 {
            break;
        }
        log_term += ((tasks - k) as f64 / (k + 1) as f64).ln() + (p / (1.0 - p)).ln();
    }
    sum.min(1.0)
}

/// ln of n over k.
fn ln_choose(n: u64, k: u64) -> f64 {
    let k = k.min(n - k);
    // Beyond a few thousand terms the sum is still exact enough and still cheap: guards count windows, not years.
    (0..k)
        .map(|i| ((n - i) as f64).ln() - ((i + 1) as f64).ln())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failed: u64, tasks: u64, ms: u64) -> Tally {
        let mut tally = Tally::default();
        for i in 0..tasks {
            tally.add(i < failed, Some(ms));
        }
        tally
    }

    #[test]
    fn verdicts() {
        let bad_ = |why: &str| why.to_owned();
        // (failed, tasks, ms) of the new version and of the one in use -> what is said.
        type Row = ((u64, u64, u64), (u64, u64, u64), &'static str);
        let table: [Row; 14] = [
            ((0, 0, 5), (0, 0, 5), "wait"),
            ((0, 49, 5), (0, 500, 5), "wait"),
            ((0, 50, 5), (0, 500, 5), "fine"),
            ((1, 1, 5), (0, 500, 5), "wait"),
            ((2, 2, 5), (0, 500, 5), "wait"),
            ((3, 3, 5), (0, 500, 5), "3 of 3 tasks failed"),
            ((3, 3, 5), (0, 0, 5), "nothing to compare with"),
            // A fleet of which a fifth does not answer: as many failures are no fault of the version.
            ((12, 50, 5), (100, 500, 5), "fine"),
            ((25, 50, 5), (100, 500, 5), "25 of 50 tasks failed"),
            // A few more than usual may be chance.
            ((3, 50, 5), (0, 500, 5), "fine"),
            ((6, 50, 5), (0, 500, 5), "6 of 50 tasks failed"),
            ((0, 50, 1_000), (0, 500, 200), "take up to"),
            ((0, 50, 60), (0, 500, 10), "fine"),
            ((0, 50, 390), (0, 500, 200), "fine"),
        ];
        for (seen, replaced, expected) in table {
            let (a, b) = (
                tally(seen.0, seen.1, seen.2),
                tally(replaced.0, replaced.1, replaced.2),
            );
            let said = match judge(&Guard::default(), &a, &b) {
                Verdict::Wait => bad_("wait"),
                Verdict::Fine => bad_("fine"),
                Verdict::Bad(why) => why,
            };
            assert!(said.contains(expected), "{seen:?} {replaced:?}: {said}");
        }
    }

    #[test]
    fn a_few_slow_tasks_may_be_chance() {
        let usual = tally(0, 500, 100);
        for (slow, tasks, bad) in [
            (4, 20, false),
            (6, 20, false),
            (7, 20, true),
            (20, 20, true),
            (12, 100, false),
            (25, 100, true),
        ] {
            let mut seen = tally(0, tasks - slow, 100);
            for _ in 0..slow {
                seen.add(false, Some(400));
            }
            let said = judge(&Guard::default(), &seen, &usual);
            let found = matches!(said, Verdict::Bad(_));
            assert_eq!(found, bad, "{slow} of {tasks}: {said:?}");
        }
    }

    #[test]
    fn the_tail_of_the_binomial_is_right() {
        for (failed, tasks, p, expected) in [
            (3, 3, 0.5, 0.125),
            (1, 10, 0.1, 1.0), // at the mean: large, and that is all that matters
            (5, 10, 0.1, 0.001_634_9),
            (30, 1_000, 0.02, 0.020_9),
        ] {
            let got = at_least(failed, tasks, p);
            assert!(
                (got - expected).abs() < 0.002,
                "{failed}/{tasks} at {p}: {got}"
            );
        }
        assert!(at_least(2_000, 100_000, 0.01) < 1e-9);
    }
}
