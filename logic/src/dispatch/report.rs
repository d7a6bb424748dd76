//! From the WEEs back: what they report is checked against the fence, settled by effect, and made durable.

use super::claim::{Reporter, unbegun_beside_another};
use super::settle::{Attempt, Verdict, backoff_ms, honest, perhaps_sent, probed, settle};
use super::{Again, Dispatch, End, Probing, Stage};
use crate::glance::run_board;
use crate::planted;
use crate::rollout::watch::Ended;
use crate::service;
use sengu_interconnect::{Delivery, Queue};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::wire::envelope::{Event, Report, ReportEnvelope, VERSION, WeeAnnouncement};
use sengu_model::{Done, Effect, FailureCode, Outcome, TaskId, Time, limits};
use sengu_store::{Op, OpenTask};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a sending that did not end the task counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    Attempt,
    Probe,
    /// It was never handed to a worker.
    Nothing,
}

/// Notes kept of one task, and the length of each.
const NOTES_MAX: usize = 64;
const NOTE_CHARS_MAX: usize = 500;
/// Longest rest of a task that nobody could take.
const IN_VAIN_REST_MAX_MS: u64 = 2_000;
/// Probes of one task before it is `Unknown`.
const PROBES_MAX: u32 = 5;
/// `Ending` with its large parts as they came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawEnding<'a> {
    outcome: &'a Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    ended_at: Time,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    wee: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readings: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    history: &'a [String],
}

impl Dispatch {
    pub(super) fn take_reports(&mut self, deliveries: Vec<Delivery>) {
        let now = self.now();
        for delivery in deliveries {
            match serde_json::from_slice::<ReportEnvelope>(&delivery.body) {
                Ok(envelope) if envelope.v == VERSION => {
                    let from = Reporter {
                        wee: &envelope.wee,
                        life: envelope.life,
                    };
                    for report in &envelope.items {
                        self.take_report(from, report, now);
                    }
                }
                Ok(envelope) => {
                    tracing::warn!(version = envelope.v, wee = %envelope.wee, "report of another version");
                    let why = format!("a report of version {} is not known", envelope.v);
                    self.put_aside(&why, &delivery.body);
                }
                Err(error) => {
                    tracing::warn!(%error, "report not understood");
                    self.put_aside(&error.to_string(), &delivery.body);
                }
            }
            let tag = self.reports.tag(delivery.tag);
            self.pending.tags.push(tag);
        }
    }

    /// Durable before it is acked.
    fn put_aside(&mut self, why: &str, body: &[u8]) {
        let op = service::parked::aside(&self.shared, &Queue::reports(), why, body);
        self.pending.ops.extend(op);
    }

    fn take_report(&mut self, from: Reporter, report: &Report, now: Time) {
        let (id, wee) = (report.task, from.wee);
        if report.event == Event::Claim {
            self.claimed(from, report, now);
            return;
        }
        let epoch = self.lanes.get(id).map(|task| self.epoch_of(task));
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        // The fence: what an older life or an older attempt says no longer counts. Of several that were delivered the
        // same attempt, only the one that may begin it counts.
        let stale = Some(report.epoch) != epoch || report.attempt != task.attempt;
        if (stale && !planted::is(planted::Bug::StaleReportsBelieved))
            || !matches!(
                task.stage,
                Stage::Sending | Stage::Sent { .. } | Stage::Started { .. }
            )
            || task.claim().is_some_and(|claim| !claim.is_of(from))
            || unbegun_beside_another(report, task)
        {
            self.shared.metrics.stale_report();
            return;
        }
        match report.event {
            Event::Claim => {} // answered above, whatever its fence
            Event::Started | Event::Beat => {
                task.payload.lease_until = now.plus_ms(limits::LEASE_MS);
                if task.payload.wee.as_deref() != Some(wee) {
                    task.payload.wee = Some(wee.into());
                }
                self.lanes.started(id, report.at);
                let cancelled =
                    |t: &super::Task| t.payload.cancelled && t.payload.probing.is_none();
                if report.event == Event::Beat && self.lanes.get(id).is_some_and(cancelled) {
                    // The first command may have been lost with a connection.
                    self.command_cancel(id);
                }
            }
            Event::Checkpoint => {
                if let Some(data) = report.data {
                    task.payload.checkpoint = Some(data.to_owned());
                    let op = Op::Checkpoint {
                        task: id,
                        priority: task.priority,
                        value: data.get().to_owned().into(),
                    };
                    self.pending.ops.push(op);
                }
            }
            Event::Logs => {
                if let Some(data) = report.data {
                    self.pending.ops.push(Op::Append {
                        stream: sengu_store::TASK_LOG.to_owned(),
                        key: id.0,
                        at: now,
                        body: data.get().to_owned().into(),
                    });
                }
            }
            Event::Progress => {}
            Event::Ended => {
                let outcome = report
                    .outcome
                    .map(|o| serde_json::from_str::<Outcome>(o.get()));
                let read = task.payload.effect == Effect::Read;
                let outcome = match outcome {
                    // Its caller declared that it changes nothing; the worker cannot know.
                    Some(Ok(Outcome::Done(done))) if read => Outcome::Done(Done {
                        changed: false,
                        ..done
                    }),
                    Some(Ok(outcome)) => outcome,
                    _ => Outcome::failed(
                        FailureCode::BadReply,
                        "the worker's outcome has no known form",
                    ),
                };
                let asked = task
                    .payload
                    .start_by
                    .filter(|_| task.payload.probing.is_none());
                if matches!(outcome, Outcome::Expired { .. }) && asked.is_none_or(|by| by > now) {
                    // Not late for whoever asked, but its lease was nearly over. Nobody has begun it.
                    let why = "no worker was free in time";
                    self.attempt_over(id, Attempt::Rejected(why.to_owned()), None, now);
                    return;
                }
                if task.payload.shadow.is_some() {
                    if let Some(task) = self.lanes.get(id) {
                        self.compare_shadow(task, &outcome, report);
                    }
                } else {
                    self.observed(id, &outcome, report, now);
                    self.shadow(id, &outcome, report, now);
                }
                self.attempt_over(id, Attempt::Ended(outcome), Some((wee, report)), now);
            }
            Event::Lost => {
                let why = report
                    .why
                    .as_deref()
                    .unwrap_or("the worker is gone")
                    .to_owned();
                self.attempt_over(id, Attempt::Lost(why), Some((wee, report)), now);
            }
            Event::Rejected => {
                let why = report
                    .why
                    .as_deref()
                    .unwrap_or("no worker could take it")
                    .to_owned();
                // Of one that is leaving it says nothing about the version.
                let leaving = |w: &WeeAnnouncement| w.spec.cordoned || w.spec.drained;
                let leaves = self.shared.wees.read().get(wee).is_none_or(leaving);
                let from = Some((wee, report)).filter(|_| !leaves);
                self.attempt_over(id, Attempt::Rejected(why), from, now);
            }
        }
    }

    /// One attempt is over: settles the task by its effect.
    pub(super) fn attempt_over(
        &mut self,
        id: TaskId,
        how: Attempt,
        from: Option<(&str, &Report)>,
        now: Time,
    ) {
        let said = ended(&how, from.map(|(_, report)| report));
        let first = self
            .lanes
            .get(id)
            .and_then(|task| task.payload.trial.as_ref());
        let said = match said {
            Some(Ended::Good(_)) if first.is_some_and(|out| out.first) => Some(Ended::Good(None)),
            said => said,
        };
        self.count_in(id, said.map(|said| matches!(said, Ended::Good(_))));
        if let Some(said) = said {
            self.tally(id, said);
        }
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let (payload, attempt) = (&task.payload, task.payload.tries);
        // A probe that was lost leaves what it asked about as open as it was.
        let perhaps = match &how {
            Attempt::Lost(why) | Attempt::Ended(Outcome::Unknown { why })
                if payload.effect.changes() && payload.probing.is_none() =>
            {
                Some(why.clone())
            }
            _ => None,
        };
        let handed_over = !matches!(how, Attempt::Rejected(_));
        let busy = match &how {
            Attempt::Ended(Outcome::Failed(f)) if f.code == FailureCode::Busy => {
                let rest = f
                    .retry_after_ms
                    .unwrap_or(payload.kind.offer.manifest.limits.cooldown_ms);
                Some(rest.min(limits::RETRY_AFTER_MAX_MS))
            }
            _ => None,
        };
        let verdict = match &payload.probing {
            Some(probing) => probe_verdict(probing, payload.effect, attempt, &how),
            None => settle(payload.effect, attempt, payload.volatile, how),
        };
        let verdict = match verdict {
            Verdict::Retry { note, .. } if payload.cancelled && payload.probing.is_none() => {
                Verdict::End(Outcome::Cancelled {
                    why: format!("cancelled; last attempt: {note}"),
                })
            }
            verdict => verdict,
        };
        let (target, was_probing) = (task.target, payload.probing.is_some());
        if let Some(task) = self.lanes.get_mut(id)
            && perhaps.is_some()
        {
            task.payload.perhaps = perhaps;
        }
        self.lanes.settling(id);
        if let Some(rest) = busy {
            self.lanes.cool(target, now.plus_ms(rest));
        }
        match verdict {
            Verdict::End(outcome) => self.end(id, outcome, from, now),
            Verdict::Retry {
                after_ms,
                note,
                counts,
            } => {
                if was_probing
                    && counts
                    && let Some(task) = self.lanes.get_mut(id)
                {
                    // The probe says that it did not happen: the action itself goes again.
                    task.payload.probing = None;
                    task.payload.perhaps = None;
                }
                let counting = match counts {
                    true => Counting::Attempt,
                    false if handed_over => Counting::Probe,
                    false => Counting::Nothing,
                };
                self.retry(id, after_ms, note, counting, now);
            }
            Verdict::Probe { note } => {
                if let Some(task) = self.lanes.get_mut(id) {
                    let since = task.payload.sent_at.unwrap_or(now);
                    task.payload.probing = Some(Probing {
                        since,
                        why: note.clone(),
                        tries: 0,
                    });
                }
                self.retry(
                    id,
                    limits::RETRY_FIRST_MS,
                    format!("{note}; probing"),
                    Counting::Probe,
                    now,
                );
            }
        }
    }

    /// Goes again after a while; what was settling is then waiting. `Counting` says what the one before counts as.
    pub(super) fn retry(
        &mut self,
        id: TaskId,
        after_ms: u64,
        note: String,
        counting: Counting,
        now: Time,
    ) {
        tracing::debug!(task = %id, note, "goes again");
        self.lanes.settling(id);
        self.count_in(id, None);
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        self.shared.metrics.retried();
        let grids = &self.shared.glance.runs;
        grids.task(task.payload.run, id, run_board::WAITING);
        // The fence moves in any case, so that nothing late counts for the next one.
        let attempt = task.attempt + 1;
        let payload = &mut task.payload;
        payload.adopted = None;
        let note: String = note.chars().take(NOTE_CHARS_MAX).collect();
        let told_before = |last: &String| last.ends_with(&note);
        let told = payload.history.last().is_some_and(told_before);
        let mut line = String::new();
        if payload.history.len() < NOTES_MAX && (counting == Counting::Attempt || !told) {
            line = format!("{now} attempt {}: {note}", payload.tries);
            payload.history.push(line.clone());
        }
        let mut not_before = now.plus_ms(after_ms);
        match counting {
            Counting::Attempt => {
                payload.tries += 1;
                payload.in_vain = 0;
            }
            Counting::Probe => payload.in_vain = 0,
            Counting::Nothing => {
                payload.in_vain = payload.in_vain.saturating_add(1);
                let rest = backoff_ms(payload.in_vain).min(IN_VAIN_REST_MAX_MS);
                not_before = now.plus_ms(after_ms.max(rest));
            }
        }
        if counting == Counting::Probe
            && let Some(probing) = &mut payload.probing
        {
            probing.tries += 1;
        }
        let durable = !payload.effect.repeatable() && payload.probing.is_none();
        if durable {
            // The mark in the store must go before it may be sent again.
            self.pending.ops.push(Op::Retry {
                task: id,
                priority: task.priority,
                attempt: task.payload.tries,
                not_before,
                note: line,
            });
            self.pending.retries.push(Again {
                task: id,
                attempt,
                not_before,
            });
        } else {
            self.lanes.again(id, attempt, not_before, now);
            self.follow_target(id, now);
            self.reroute(id, now);
        }
    }

    /// The task is over: makes that durable, then frees its lane.
    pub(super) fn end(
        &mut self,
        id: TaskId,
        outcome: Outcome,
        from: Option<(&str, &Report)>,
        now: Time,
    ) {
        self.lanes.settling(id);
        self.count_in(id, None);
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let payload = &task.payload;
        if payload.volatile {
            if let Some(task) = self.lanes.finish(id, now) {
                self.shadow_over(&task);
            }
            return;
        }
        let outcome = honest(outcome, payload.perhaps.as_deref(), from.is_some());
        // What may be repeated is not marked when it is sent, so a life of logic does not know what the one before sent,
        // whatever came of what it has sent itself.
        let inherited = id.0 <= self.shared.last_id_before;
        let outcome = match inherited && payload.effect == Effect::Idempotent {
            true => perhaps_sent(outcome),
            false => outcome,
        };
        let report = from.map(|(_, report)| report);
        let started_at = report.and_then(|r| r.started_at).or(match task.stage {
            Stage::Started { at } => Some(at),
            _ => None,
        });
        let ending = RawEnding {
            outcome: &outcome,
            started_at,
            ended_at: now,
            attempts: payload.tries,
            wee: from.map(|(wee, _)| wee).or(payload.wee.as_deref()),
            instance: report.and_then(|r| r.instance.as_deref()),
            digest: report.and_then(|r| r.digest.as_deref()),
            chosen: payload.chosen.as_deref(),
            readings: report.and_then(|r| r.readings),
            facts: report.and_then(|r| r.facts),
            history: &payload.history,
        };
        let changed = matches!(&outcome, Outcome::Done(done) if done.changed);
        // Text and raw JSON always serialise.
        let body = serde_json::to_vec(&ending).unwrap_or_default();
        let read = payload.effect == Effect::Read;
        if read && payload.run.is_some() && outcome.status() == Status::Done {
            self.pending.unhurried += 1;
        }
        self.pending.ops.push(Op::End {
            task: id,
            priority: task.priority,
            status: outcome.status(),
            changed,
            at: now,
            ending: body.into(),
        });
        self.pending.ends.push(End {
            task: id,
            run: payload.run,
            batch: payload.batch,
            status: outcome.status(),
            changed,
            attempts: payload.tries,
            target: payload.target.name.clone(),
            in_lane: true,
            held: false,
        });
        if let Some(code) = outcome.code() {
            self.shared.metrics.failed(code);
        }
        if planted::is(planted::Bug::LaneFreedEarly) {
            self.lanes.finish(id, now);
        }
    }

    /// Ends a task that is in the store only.
    pub(super) fn end_stored(&mut self, open: &OpenTask, outcome: Outcome, now: Time) {
        let earlier = open.sent.map(|_| super::feed::RESTARTED);
        let outcome = honest(outcome, earlier, false);
        let ending = RawEnding {
            outcome: &outcome,
            started_at: None,
            ended_at: now,
            attempts: open.attempt,
            wee: None,
            instance: None,
            digest: None,
            chosen: None,
            readings: None,
            facts: None,
            history: &[],
        };
        if !self.ending.insert(open.id) {
            return;
        }
        self.pending.ops.push(Op::End {
            task: open.id,
            priority: open.priority,
            status: outcome.status(),
            changed: false,
            at: now,
            ending: serde_json::to_vec(&ending).unwrap_or_default().into(),
        });
        self.pending.ends.push(End {
            task: open.id,
            run: open.run,
            batch: open.batch,
            status: outcome.status(),
            changed: false,
            attempts: open.attempt,
            target: "".into(),
            in_lane: false,
            held: open.priority == Priority::Held,
        });
    }

    /// No beat for a whole lease: contact is lost.
    pub(super) fn lease_over(&mut self, id: TaskId, now: Time) {
        // A timer of an earlier attempt says nothing of what waits, is being marked, or has ended; after a pause several
        // of one task are due at once.
        let out = |t: &&super::Task| matches!(t.stage, Stage::Sent { .. } | Stage::Started { .. });
        let Some(until) = (self.lanes.get(id).filter(out)).map(|t| t.payload.lease_until) else {
            return;
        };
        if until > now {
            self.lanes.lease_check(id, until);
            return;
        }
        if self.hears_nobody(id, now) {
            return;
        }
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let why = match &task.payload.wee {
            Some(wee) => format!(
                "no word from execution environment {wee} for {} s",
                limits::LEASE_MS / 1000
            ),
            None => format!(
                "no execution environment took it within {} s",
                limits::LEASE_MS / 1000
            ),
        };
        tracing::warn!(task = %id, why, "lease over");
        self.attempt_over(id, Attempt::Lost(why), None, now);
    }
}

/// What the end of an attempt says of the worker; None where it says nothing.
fn ended(how: &Attempt, report: Option<&Report>) -> Option<Ended> {
    let ms = report.and_then(|r| Some(r.at.ms_since(r.started_at?)));
    match how {
        Attempt::Ended(Outcome::Done(_)) => Some(Ended::Good(ms)),
        // The device asks for rest, or a person for the end.
        Attempt::Ended(Outcome::Failed(f)) if f.code == FailureCode::Busy => None,
        Attempt::Ended(Outcome::Cancelled { .. } | Outcome::Expired { .. }) => None,
        Attempt::Ended(Outcome::Failed(_) | Outcome::Unknown { .. }) => Some(Ended::Bad(ms)),
        // Without a report nobody knows who lost it.
        Attempt::Lost(_) => report.map(|_| Ended::Bad(None)),
        Attempt::Rejected(_) => report.map(|_| Ended::NotTaken),
    }
}

fn probe_verdict(probing: &Probing, effect: Effect, attempt: u32, how: &Attempt) -> Verdict {
    debug_assert_eq!(effect, Effect::Probe);
    let why = &probing.why;
    match how {
        Attempt::Ended(Outcome::Done(done)) => {
            let happened = done
                .result
                .as_ref()
                .and_then(|r| r.get("happened")?.as_bool());
            let mut verdict = probed(happened, attempt, why);
            if let (Verdict::End(Outcome::Done(end)), Some(result)) = (&mut verdict, &done.result) {
                end.after = result.get("after").cloned();
                end.result = Some(serde_json::json!({ "settledByProbe": why }));
            }
            verdict
        }
        Attempt::Rejected(why) => Verdict::Retry {
            after_ms: limits::RETRY_FIRST_MS,
            note: why.clone(),
            counts: false,
        },
        // The probe itself had no luck: ask again while there are tries.
        _ if probing.tries < PROBES_MAX => Verdict::Retry {
            after_ms: backoff_ms(probing.tries + 1),
            note: format!("{why}; the probe had no answer"),
            counts: false,
        },
        _ => probed(None, attempt, why),
    }
}
