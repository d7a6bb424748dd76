//! What follows from how an attempt ended. Pure: the honest outcome is decided here and nowhere else.

use sengu_model::{Effect, FailureCode, Outcome, limits};

/// How an attempt ended, as far as anybody knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Attempt {
    /// The worker said so.
    Ended(Outcome),
    /// The worker, its WEE or the way to it is gone; the effect may have begun.
    Lost(String),
    /// Never handed to a worker; nothing happened.
    Rejected(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    End(Outcome),
    Retry {
        after_ms: u64,
        note: String,
        /// Whether it counts against the attempts.
        counts: bool,
    },
    /// Ask the device whether it happened.
    Probe {
        note: String,
    },
}

/// A target that is deaf for a whole timeout is asked once more and no further: its batch waits for it.
const TIMEOUTS_MAX: u32 = 2;

/// `attempt` counts from 1. `volatile`: a sweep, never repeated.
pub fn settle(effect: Effect, attempt: u32, volatile: bool, how: Attempt) -> Verdict {
    let left = attempt < limits::ATTEMPTS_MAX && !volatile;
    match how {
        Attempt::Rejected(why) if volatile => {
            Verdict::End(Outcome::failed(FailureCode::Unreachable, why))
        }
        Attempt::Rejected(why) => Verdict::Retry {
            after_ms: limits::RETRY_FIRST_MS,
            note: why,
            counts: false,
        },
        Attempt::Ended(Outcome::Failed(f)) if f.code.retried_blindly() && left => Verdict::Retry {
            after_ms: f.retry_after_ms.map_or_else(
                || backoff_ms(attempt),
                |ms| ms.min(limits::RETRY_AFTER_MAX_MS),
            ),
            note: format!("{}: {}", f.code, f.message),
            counts: true,
        },
        // The worker declares that nothing had changed, or it was a read.
        Attempt::Ended(Outcome::Failed(f))
            if matches!(f.code, FailureCode::Timeout | FailureCode::Crashed)
                && effect.repeatable()
                && left
                && attempt < TIMEOUTS_MAX =>
        {
            Verdict::Retry {
                after_ms: backoff_ms(attempt),
                note: format!("{}: {}", f.code, f.message),
                counts: true,
            }
        }
        Attempt::Ended(Outcome::Unknown { why }) => lost(effect, attempt, left, why),
        Attempt::Ended(outcome) => Verdict::End(outcome),
        Attempt::Lost(why) => lost(effect, attempt, left, why),
    }
}

/// `earlier`: why an attempt before the last may have had its effect. An end that says nothing of how the target is now
/// then leaves that open. `worker_said`: it comes from a worker and not from sengu itself.
pub fn honest(outcome: Outcome, earlier: Option<&str>, worker_said: bool) -> Outcome {
    let Some(earlier) = earlier else {
        return outcome;
    };
    let then = match &outcome {
        Outcome::Done(_) | Outcome::Unknown { .. } => return outcome,
        Outcome::Failed(f) if worker_said && !f.code.retried_blindly() && !f.code.quarantines() => {
            return outcome;
        }
        Outcome::Failed(f) => format!("{}: {}", f.code, f.message),
        Outcome::Cancelled { why } | Outcome::Expired { why } => why.clone(),
    };
    Outcome::Unknown {
        why: format!("{earlier}; then {then}"),
    }
}

/// How a change ends that an earlier life of logic may have sent, whatever this one did with it.
pub fn perhaps_sent(outcome: Outcome) -> Outcome {
    const BEFORE: &str = "sengu was restarted since it was asked for, and may have sent it before";
    match outcome {
        Outcome::Expired { why } => Outcome::Unknown {
            why: format!("{why}; {BEFORE}"),
        },
        Outcome::Cancelled { why } => Outcome::Cancelled {
            why: format!("{why}; {BEFORE}"),
        },
        other => other,
    }
}

fn lost(effect: Effect, attempt: u32, left: bool, why: String) -> Verdict {
    match effect {
        Effect::Read | Effect::Idempotent if left => Verdict::Retry {
            after_ms: backoff_ms(attempt),
            note: why,
            counts: true,
        },
        Effect::Read => Verdict::End(Outcome::failed(FailureCode::Crashed, why)),
        Effect::Probe => Verdict::Probe { note: why },
        Effect::Idempotent | Effect::Once => Verdict::End(Outcome::Unknown { why }),
    }
}

/// What a probe's answer means for the probed task: `happened` is its result, `error` why there is none.
pub fn probed(happened: Option<bool>, attempt: u32, why: &str) -> Verdict {
    match happened {
        Some(true) => Verdict::End(Outcome::Done(sengu_model::Done {
            changed: true,
            ..sengu_model::Done::default()
        })),
        Some(false) if attempt < limits::ATTEMPTS_MAX => Verdict::Retry {
            after_ms: 0,
            note: format!("{why}; the probe says it did not happen"),
            counts: true,
        },
        Some(false) => Verdict::End(Outcome::failed(
            FailureCode::Crashed,
            format!("{why}; the probe says it did not happen, and no attempt is left"),
        )),
        None => Verdict::End(Outcome::Unknown {
            why: format!("{why}; the probe could not tell"),
        }),
    }
}

/// Doubles from `RETRY_FIRST_MS` to `RETRY_MAX_MS`.
pub fn backoff_ms(attempt: u32) -> u64 {
    let doubled = limits::RETRY_FIRST_MS.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(limits::RETRY_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::Failure;

    fn word(verdict: &Verdict) -> String {
        match verdict {
            Verdict::End(o) => match o.code() {
                Some(code) => format!("end {code}"),
                None => format!("end {}", o.status().as_str()),
            },
            Verdict::Retry {
                after_ms,
                counts: true,
                ..
            } => format!("retry {after_ms}"),
            Verdict::Retry { after_ms, .. } => format!("retry {after_ms} uncounted"),
            Verdict::Probe { .. } => "probe".to_owned(),
        }
    }

    #[test]
    fn contact_lost_is_settled_by_effect() {
        let table = [
            (Effect::Read, 1, "retry 500"),
            (Effect::Read, 5, "end crashed"),
            (Effect::Idempotent, 2, "retry 1000"),
            (Effect::Idempotent, 5, "end unknown"),
            (Effect::Probe, 1, "probe"),
            (Effect::Probe, 5, "probe"),
            (Effect::Once, 1, "end unknown"),
        ];
        for (effect, attempt, expected) in table {
            for how in [
                Attempt::Lost("gone".to_owned()),
                Attempt::Ended(Outcome::Unknown {
                    why: "cut".to_owned(),
                }),
            ] {
                let got = word(&settle(effect, attempt, false, how));
                assert_eq!(got, expected, "{effect:?} attempt {attempt}");
            }
        }
    }

    #[test]
    fn only_unreachable_and_busy_are_retried_blindly() {
        for code in FailureCode::ALL {
            let how = Attempt::Ended(Outcome::failed(code, ""));
            let once = word(&settle(Effect::Once, 1, false, how));
            let expected = match code {
                FailureCode::Busy | FailureCode::Unreachable => "retry 500".to_owned(),
                code => format!("end {code}"),
            };
            assert_eq!(once, expected);
        }
        let busy = Attempt::Ended(Outcome::Failed(Failure::busy("503", 7_000)));
        assert_eq!(
            word(&settle(Effect::Once, 1, false, busy.clone())),
            "retry 7000"
        );
        assert_eq!(
            word(&settle(Effect::Once, 5, false, busy.clone())),
            "end busy"
        );
        assert_eq!(
            word(&settle(Effect::Read, 1, true, busy)),
            "end busy",
            "sweeps come again anyway"
        );
    }

    #[test]
    fn a_deaf_target_is_asked_once_more() {
        let how = || Attempt::Ended(Outcome::failed(FailureCode::Timeout, ""));
        assert_eq!(
            word(&settle(Effect::Idempotent, 1, false, how())),
            "retry 500"
        );
        assert_eq!(
            word(&settle(Effect::Idempotent, 2, false, how())),
            "end timeout"
        );
        assert_eq!(word(&settle(Effect::Once, 1, false, how())), "end timeout");
    }

    #[test]
    fn a_rejected_task_waits_for_a_worker_for_as_long_as_it_takes() {
        let how = Attempt::Rejected("pool broken".to_owned());
        assert_eq!(
            word(&settle(Effect::Once, 5, false, how)),
            "retry 500 uncounted"
        );
    }

    #[test]
    fn an_attempt_that_may_have_happened_is_not_forgotten() {
        let ends = [
            (
                Outcome::Cancelled { why: String::new() },
                "unknown",
                "unknown",
            ),
            (
                Outcome::Expired { why: String::new() },
                "unknown",
                "unknown",
            ),
            (
                Outcome::failed(FailureCode::Unreachable, ""),
                "unknown",
                "unknown",
            ),
            (
                Outcome::failed(FailureCode::AuthFailed, ""),
                "unknown",
                "unknown",
            ),
            (
                Outcome::failed(FailureCode::Refused, ""),
                "failed",
                "unknown",
            ),
            (Outcome::Done(sengu_model::Done::default()), "done", "done"),
        ];
        for (outcome, by_worker, by_sengu) in ends {
            let end = |said| honest(outcome.clone(), Some("cut"), said).status().as_str();
            assert_eq!(
                (end(true), end(false)),
                (by_worker, by_sengu),
                "{outcome:?}"
            );
            assert_eq!(honest(outcome.clone(), None, false), outcome);
        }
    }

    #[test]
    fn probes_settle() {
        assert_eq!(word(&probed(Some(true), 1, "")), "end done");
        assert_eq!(word(&probed(Some(false), 1, "")), "retry 0");
        assert_eq!(word(&probed(Some(false), 5, "")), "end crashed");
        assert_eq!(word(&probed(None, 1, "")), "end unknown");
    }
}
