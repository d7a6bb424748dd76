//! How dispatch stands, for those who ask; looking moves nothing.

use super::Dispatch;
use super::lanes::{Blocked, QueueIndex, Stage};
use sengu_model::{TaskId, Time};

/// How a task stands in memory.
#[derive(Debug, Clone)]
pub struct Standing {
    pub stage: Stage,
    pub attempt: u32,
    pub not_before: Time,
    pub blocked: Blocked,
    pub history: Vec<String>,
    pub probing: bool,
    pub wee: Option<String>,
    pub lease_until: Time,
    /// Queue, tasks in flight, window.
    pub queue: (String, u32, u32),
    /// The version that does it as things are now, and why; or why none does.
    pub choice: Result<(String, String), String>,
}

#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStanding {
    pub zone: String,
    pub kind: String,
    pub version: String,
    pub class: String,
    pub in_flight: u32,
    pub window: u32,
    /// Attempts that ended since the start of logic, those that failed, and their milliseconds from hand-over to end.
    #[serde(flatten)]
    pub ended: sengu_model::release::Sample,
}

#[derive(Debug, Clone, Default)]
pub struct Overview {
    pub queues: Vec<QueueStanding>,
    pub waiting: usize,
    pub sent: usize,
    pub started: usize,
}

impl Dispatch {
    pub(super) fn overview(&self) -> Overview {
        let mut overview = Overview {
            waiting: self.lanes.waiting(),
            ..Overview::default()
        };
        for task in self.lanes.iter() {
            match task.stage {
                Stage::Sent { .. } | Stage::Sending => overview.sent += 1,
                Stage::Started { .. } => overview.started += 1,
                Stage::Waiting | Stage::Settling => {}
            }
        }
        let queues = self.queue_names.iter().enumerate();
        overview.queues = queues
            .map(|(i, ((zone, kind, version, class), _))| {
                let (in_flight, window) = self.lanes.window(QueueIndex(i as u32));
                QueueStanding {
                    zone: zone.to_string(),
                    kind: kind.to_string(),
                    version: version.to_string(),
                    class: class.as_str().to_owned(),
                    in_flight,
                    window,
                    ended: self.tallies[i].sample(),
                }
            })
            .collect();
        overview
    }

    pub(super) fn standing(&self, id: TaskId, now: Time) -> Option<Standing> {
        let task = self.lanes.get(id)?;
        let (in_flight, window) = self.lanes.window(task.queue);
        let queue = &self.queue_names[task.queue.0 as usize].1;
        Some(Standing {
            stage: task.stage,
            attempt: task.payload.tries,
            not_before: task.not_before,
            blocked: self.lanes.blocked(id, now),
            history: task.payload.history.clone(),
            probing: task.payload.probing.is_some(),
            wee: task.payload.wee.as_deref().map(str::to_owned),
            lease_until: task.payload.lease_until,
            queue: (queue.to_string(), in_flight, window),
            choice: self
                .route(&task.payload, &task.payload.target)
                .map(|choice| {
                    let version = choice.kind.version().to_owned();
                    (version, choice.why.to_string())
                }),
        })
    }
}
