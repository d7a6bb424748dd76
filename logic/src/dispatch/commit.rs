//! Writes on their way to the store: what gathered goes as one batch, and what follows only once it is durable.

use super::{COMMITS_MAX, Dispatch, Flight, LINGER_MS, Pending};
use crate::glance::run_board;
use crate::service;
use sengu_model::{Class, Time, limits};
use sengu_store::StoreError;
use tokio::sync::mpsc;

impl Dispatch {
    /// Sends what gathered, if another commit may be out.
    pub(super) fn flush(&mut self, now: Time) {
        if self.pending.ops.is_empty() {
            let tags = std::mem::take(&mut self.pending.tags);
            self.reports.ack(&tags);
            return;
        }
        if now < self.store_rest_until {
            return;
        }
        self.store_rest_until = Time(0);
        if self.commits.len() >= COMMITS_MAX {
            return;
        }
        let unhurried = self.pending.unhurried == self.pending.ops.len();
        if unhurried && self.stopping.is_none() {
            let since = *self.pending.lingers_since.get_or_insert(now);
            if now.ms_since(since) < LINGER_MS && now >= since {
                return;
            }
        }
        let Pending {
            ops,
            ends,
            retries,
            marked,
            tags,
            repeated,
            ..
        } = std::mem::take(&mut self.pending);
        let shared = self.shared.clone();
        self.commits.push(Box::pin(async move {
            let result = shared.store.commit(ops.clone().into()).await;
            // The operations are only needed again when they were refused.
            let ops = if result.is_ok() { Vec::new() } else { ops };
            Flight {
                ends,
                retries,
                marked,
                tags,
                result,
                ops,
                repeated,
            }
        }));
    }

    pub(super) fn landed(&mut self, flight: Flight) {
        let now = self.now();
        let Flight {
            ends,
            retries,
            marked,
            tags,
            result,
            ops,
            repeated,
        } = flight;
        let committed = match result {
            Ok(committed) => committed,
            Err(error) => {
                // Disk full or the like: nothing is lost, it is tried again as it was.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "outcomes cannot be stored"
                );
                self.store_rest_until = now.plus_ms(limits::RETRY_FIRST_MS);
                // Where this life is over, another one reads what is kept.
                self.store_closed |= error.ends_life() || matches!(error, StoreError::Closed);
                let newer = std::mem::take(&mut self.pending);
                self.pending = Pending {
                    ops,
                    ends,
                    retries,
                    marked,
                    tags,
                    repeated: true,
                    ..Pending::default()
                };
                self.pending.ops.extend(newer.ops);
                self.pending.ends.extend(newer.ends);
                self.pending.retries.extend(newer.retries);
                self.pending.marked.extend(newer.marked);
                self.pending.tags.extend(newer.tags);
                return;
            }
        };
        self.reports.ack(&tags);
        let ended = ends.iter().map(|end| end.task);
        self.gone.ended(ended, &self.arrivals);
        let mut for_runs = Vec::new();
        for end in ends {
            // Of what was refused before, the answer alone may have been lost: then it is this very end that stands.
            let stale = committed.stale.contains(&end.task) && !repeated;
            if end.in_lane
                && let Some(task) = self.lanes.finish(end.task, now)
                && task.class == Class::Control
            {
                self.at_rest(&task);
            }
            self.ending.remove(&end.task);
            if stale {
                continue;
            }
            self.shared.metrics.ended(end.status);
            self.shared.waiters.wake(end.task);
            if let Some(run) = end.run {
                let letter = run_board::ended(end.status, end.changed);
                self.shared.glance.runs.task(end.run, end.task, letter);
                for_runs.push(service::control::Ended {
                    run,
                    task: end.task,
                    batch: end.batch,
                    status: end.status,
                    changed: end.changed,
                    retries: end.attempts.saturating_sub(1),
                    target: end.target,
                    held: end.held,
                });
            }
        }
        for again in retries {
            self.lanes
                .again(again.task, again.attempt, again.not_before, now);
            self.follow_target(again.task, now);
            self.reroute(again.task, now);
        }
        if self.stopping.is_some() {
            self.unmark(&marked, now);
        } else {
            self.publish(&marked, now);
        }
        self.shared.wrote(&committed.revisions);
        if committed.position > 0 {
            self.shared
                .position
                .send_modify(|p| *p = (*p).max(committed.position));
        }
        if !for_runs.is_empty() {
            let input = service::control::Input::Ended(for_runs);
            if let Err(mpsc::error::TrySendError::Full(input)) = self.control.try_send(input) {
                // Runs count from the store when they have to; a slow one must not hold up dispatch.
                let control = self.control.clone();
                crate::clock::spawn(async move {
                    let _ = control.send(input).await;
                });
            }
        }
    }
}
