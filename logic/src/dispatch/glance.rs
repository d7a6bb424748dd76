//! What dispatch knows for the overview: one look at all that is in memory. Looking moves nothing.

use super::lanes::{Blocked, Stage};
use super::{Dispatch, Task};
use crate::glance::overview::SlowTask;
use crate::glance::slow::{Worst, expected_in_hand_ms, expected_waiting_ms};
use crate::saying::Say;
use sengu_model::task::{TaskState, created_at};
use sengu_model::{RunId, TaskId, Time};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct Glimpse {
    pub sent: u64,
    pub started: u64,
    /// Tasks in hand of each run that has some.
    pub out: HashMap<RunId, u32>,
    pub slow: Vec<SlowTask>,
    pub slow_total: u64,
}

impl Dispatch {
    pub(super) fn glimpse(&self, now: Time) -> Glimpse {
        let mut seen = Glimpse::default();
        let p90: Vec<Option<u64>> = self.tallies.iter().map(|t| t.quantile_ms(0.9)).collect();
        let mut worst = Worst::default();
        for task in self.lanes.iter() {
            match task.stage {
                Stage::Sending | Stage::Sent { .. } => seen.sent += 1,
                Stage::Started { .. } => seen.started += 1,
                Stage::Waiting | Stage::Settling => {}
            }
            let in_hand = !matches!(task.stage, Stage::Waiting | Stage::Settling);
            if let Some(run) = task.payload.run.filter(|_| in_hand) {
                *seen.out.entry(run).or_default() += 1;
            }
            let p90 = p90.get(task.queue.0 as usize).copied().flatten();
            if let Some((since, expected)) = expectation(task, p90, now) {
                worst.look(since, expected, now, (task.id, expected));
            }
        }
        seen.slow_total = worst.total;
        let named = worst.named().into_iter();
        seen.slow = named
            .filter_map(|(id, expected)| self.slow_task(id, expected, now))
            .collect();
        seen
    }

    fn slow_task(&self, id: TaskId, expected_ms: u64, now: Time) -> Option<SlowTask> {
        let task = self.lanes.get(id)?;
        let (state, since) = match task.stage {
            Stage::Waiting => (TaskState::Waiting, waits_since(task)),
            Stage::Started { at } => (TaskState::Started, at),
            Stage::Sent { at } => (TaskState::Sent, at),
            Stage::Sending | Stage::Settling => (TaskState::Sent, since_sent(task)),
        };
        let say = match (task.stage, task.payload.wee.as_deref()) {
            (Stage::Waiting, _) => self.why_waiting(id, now),
            (Stage::Started { .. }, Some(wee)) => Say::SlowInHand {
                wee: wee.to_owned(),
            },
            (Stage::Started { .. }, None) => Say::SlowInHandSomewhere,
            _ => Say::SlowNotBegun,
        };
        Some(SlowTask {
            task: id,
            target: task.payload.target.name.to_string(),
            action: task.payload.action.decl.name.clone(),
            state,
            since,
            expected_ms,
            why: say.text(),
            saying: say.into(),
        })
    }

    fn why_waiting(&self, id: TaskId, now: Time) -> Say {
        match self.lanes.blocked(id, now) {
            Blocked::Window {
                in_flight,
                window: 0,
            } => Say::SlowNoWee {
                out: in_flight.to_string(),
            },
            Blocked::Window { in_flight, window } => Say::SlowNoRoom {
                out: in_flight.to_string(),
                window: window.to_string(),
            },
            Blocked::Holder(holder) => Say::SlowTargetHeld {
                holder: holder.to_string(),
            },
            Blocked::Behind(first) => Say::SlowBehind {
                first: first.to_string(),
            },
            Blocked::Sessions(sessions) => Say::SlowSessions {
                sessions: sessions.to_string(),
            },
            Blocked::Until(at) => Say::SlowRests {
                until: at.to_string(),
            },
            Blocked::No => Say::SlowGoes,
        }
    }
}

/// In this stage since when, and how long that may be.
fn expectation(task: &Task, p90_ms: Option<u64>, now: Time) -> Option<(Time, u64)> {
    match task.stage {
        Stage::Settling => None,
        Stage::Waiting => {
            let expected = expected_waiting_ms(task.priority)?;
            (task.not_before <= now).then(|| (waits_since(task), expected))
        }
        Stage::Sending | Stage::Sent { .. } | Stage::Started { .. } => {
            let expected = expected_in_hand_ms(p90_ms, task.payload.timeout_ms);
            Some((since_sent(task), expected))
        }
    }
}

fn since_sent(task: &Task) -> Time {
    match (task.stage, task.payload.sent_at) {
        (Stage::Sent { at } | Stage::Started { at }, None) => at,
        (_, Some(at)) => at,
        (_, None) => created_at(task.id.0),
    }
}

/// Since it could have gone, as far as it alone is concerned.
fn waits_since(task: &Task) -> Time {
    created_at(task.id.0).max(task.not_before)
}
