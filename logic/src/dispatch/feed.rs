//! From the store into the lanes: the backlog stays in the store and is read in pages while there is room.

use super::{Arrival, Dispatch, Payload, Ready, Task};
use crate::dispatch::lanes::{Inserted, Stage};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use sengu_model::task::{Priority, TaskBody};
use sengu_model::{Effect, FailureCode, Outcome, TaskId, Time, Uid, limits};
use sengu_store::{Line, OpenTask, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a task that an earlier life sent and did not settle.
pub(super) const RESTARTED: &str = "sengu was restarted while it was out";

/// Where reading stands.
#[derive(Default)]
pub struct Feed {
    cursors: HashMap<(Priority, Line), Cursor>,
    pub loads: FuturesUnordered<BoxFuture<'static, Page>>,
    /// The lines that an earlier life left are known. Before that nothing new may overtake them.
    ready: bool,
    /// The first page of each of them was read: what they sent is known. What is reported of it before that would be
    /// reported to nobody.
    pub first_read: bool,
}

/// One line's place in the store.
#[derive(Default)]
struct Cursor {
    /// Everything up to here was looked at.
    after: TaskId,
    /// There may be more in the store.
    behind: bool,
    loading: bool,
    /// Something was left in the store while a page was on its way.
    again: bool,
    /// A page of it was read.
    read: bool,
}

pub struct Page {
    what: What,
    limit: usize,
    tasks: Result<Vec<OpenTask>, StoreError>,
    /// Held until its tasks are taken in.
    arrival: Option<Arrival>,
}

#[derive(Clone)]
enum What {
    Lines(TaskId, Vec<(Priority, Line)>),
    Line(Priority, Line),
    Lane(Uid),
}

impl Feed {
    fn look_whether_read(&mut self) {
        if self.first_read {
            return;
        }
        let read = |cursor: &Cursor| cursor.read || !cursor.behind;
        self.first_read = self.ready && self.cursors.values().all(read);
    }

    /// Tasks from `from` on are in the store and not in memory.
    fn behind(&mut self, priority: Priority, line: Line, from: TaskId) {
        let cursor = self
            .cursors
            .entry((priority, line))
            .or_insert_with(|| Cursor {
                after: from,
                ..Cursor::default()
            });
        cursor.after = cursor.after.min(TaskId(from.0.saturating_sub(1)));
        cursor.behind = true;
        cursor.again |= cursor.loading;
    }
}

impl Dispatch {
    /// Finds out in which lines tasks wait, and reads them from `from` on.
    pub(super) fn ask_for_lines(&mut self, from: TaskId) {
        let store = self.shared.store.clone();
        self.feed.loads.push(Box::pin(async move {
            match store.lines().await {
                Ok(lines) => Page {
                    what: What::Lines(from, lines),
                    limit: 0,
                    tasks: Ok(Vec::new()),
                    arrival: None,
                },
                Err(error) => {
                    tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                    Page {
                        what: What::Lines(from, Vec::new()),
                        limit: 0,
                        tasks: Err(error),
                        arrival: None,
                    }
                }
            }
        }));
    }

    /// Takes freshly committed tasks straight into their lanes, or leaves them in the store when there is a backlog.
    pub(super) fn take_new(&mut self, tasks: Vec<Ready>, now: Time) {
        for ready in tasks {
            let line = ready.line;
            let key = (ready.priority, line);
            let backlog = self.feed.cursors.get(&key).is_some_and(|c| c.behind);
            let full = self.lanes.waiting_in(ready.priority, line) >= limits::LINE_WINDOW_MAX;
            if backlog || full || !self.feed.ready {
                self.feed.behind(ready.priority, line, ready.id);
            } else {
                self.insert(ready, now, false);
            }
        }
    }

    /// In its lane, ending, or over.
    fn is_known(&self, id: TaskId) -> bool {
        self.lanes.get(id).is_some() || self.ending.contains(&id) || self.gone.contains(id)
    }

    pub(super) fn insert(&mut self, mut ready: Ready, now: Time, refill: bool) -> Inserted {
        if self.is_known(ready.id) {
            return Inserted::Known;
        }
        if self.is_paused(&ready.payload) {
            return Inserted::Paused;
        }
        // The target may have been changed while the task was on its way.
        let uid = ready.payload.target.uid;
        if let Some(target) = self.shared.inventory.read().by_uid.get(&uid) {
            ready.payload.target = target.clone();
        }
        let class = ready.payload.effect.class();
        let (zone, kind) = (
            ready.payload.target.zone.clone(),
            ready.payload.target.kind.clone(),
        );
        // Where there is none, it waits in the queue of the version for which it was made, and `why` tells.
        if let Ok(choice) = self.route(&ready.payload, &ready.payload.target) {
            ready.payload.follow(&choice);
        }
        let version: Arc<str> = ready.payload.kind.version().into();
        let queue = self.queue(&zone, &kind, &version, class);
        let limits = ready.payload.target.lane_limits(&ready.payload.kind);
        let task = Task {
            id: ready.id,
            target: ready.payload.target.uid,
            queue,
            line: ready.line,
            class,
            priority: ready.priority,
            attempt: ready.attempt,
            not_before: ready.not_before,
            stage: Stage::Waiting,
            payload: ready.payload,
        };
        let (id, start_by) = (task.id, task.payload.start_by);
        let inserted = self.lanes.insert(task, &limits, now, refill);
        if inserted == Inserted::Queued
            && let Some(start_by) = start_by
        {
            // It ends in time even if nothing is there that could take it.
            self.lanes.deadline(id, start_by.plus_ms(1));
        }
        inserted
    }

    /// Asks the store for more where there is room.
    pub(super) fn ask_for_more(&mut self) {
        if !self.feed.ready {
            return;
        }
        for ((priority, line), cursor) in &mut self.feed.cursors {
            let (priority, line) = (*priority, *line);
            let room = self.lanes.waiting_in(priority, line) + limits::BACKLOG_PAGE
                <= limits::LINE_WINDOW_MAX;
            if !cursor.behind || cursor.loading || !room {
                continue;
            }
            cursor.loading = true;
            cursor.again = false;
            let (store, after, limit) = (
                self.shared.store.clone(),
                cursor.after,
                limits::BACKLOG_PAGE,
            );
            let arrival = Some(self.arrivals.begin());
            self.feed.loads.push(Box::pin(async move {
                let tasks = store.open_tasks(priority, line, after, limit).await;
                rest_after(&tasks).await;
                Page {
                    what: What::Line(priority, line),
                    limit,
                    tasks,
                    arrival,
                }
            }));
        }
        for (target, after) in self.lanes.take_refills() {
            let (store, limit) = (self.shared.store.clone(), limits::LANE_WINDOW_MAX);
            let arrival = Some(self.arrivals.begin());
            self.feed.loads.push(Box::pin(async move {
                let tasks = store.lane_tasks(target, after, limit).await;
                rest_after(&tasks).await;
                Page {
                    what: What::Lane(target),
                    limit,
                    tasks,
                    arrival,
                }
            }));
        }
    }

    pub(super) fn take_page(&mut self, page: Page) {
        let now = self.now();
        let _until_taken_in = page.arrival;
        let tasks = match page.tasks {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the backlog cannot be read"
                );
                match page.what {
                    What::Lines(from, _) => self.ask_for_lines(from),
                    What::Line(priority, line) => {
                        if let Some(cursor) = self.feed.cursors.get_mut(&(priority, line)) {
                            cursor.loading = false;
                        }
                    }
                    What::Lane(target) => self.lanes.refilled(target, false),
                }
                return;
            }
        };
        let (count, last) = (tasks.len(), tasks.last().map(|t| t.id));
        match page.what {
            What::Lines(from, lines) => {
                for (priority, line) in lines {
                    if priority != Priority::Held {
                        self.feed.behind(priority, line, from);
                    }
                }
                self.feed.ready = true;
                self.feed.look_whether_read();
            }
            What::Line(priority, line) => {
                if let Some(cursor) = self.feed.cursors.get_mut(&(priority, line)) {
                    cursor.loading = false;
                    cursor.read = true;
                    if !cursor.again {
                        cursor.after = last.map_or(cursor.after, |l| l.max(cursor.after));
                        cursor.behind = count == page.limit;
                    }
                }
                for open in tasks {
                    self.take_open(open, Some(line), now, false);
                }
                self.feed.look_whether_read();
            }
            What::Lane(target) => {
                let mut full = false;
                for open in tasks {
                    let id = open.id;
                    match self.take_open(open, None, now, true) {
                        Inserted::LaneFull => full = true,
                        _ if full => {}
                        _ => self.lanes.looked_at(target, id),
                    }
                }
                self.lanes.refilled(target, count < page.limit && !full);
            }
        }
    }

    /// `line`: where it was read, if that is known.
    fn take_open(
        &mut self,
        open: OpenTask,
        line: Option<Line>,
        now: Time,
        refill: bool,
    ) -> Inserted {
        if self.is_known(open.id) {
            return Inserted::Known;
        }
        let (id, sent) = (open.id, open.sent);
        let ready = match self.ready(open, line, now) {
            Ok(ready) => ready,
            Err((open, outcome)) => {
                // It was out when sengu ended, and is of a kind that may not be repeated: nobody can say that it did not
                // happen, whatever keeps it from being settled now.
                let outcome = match (&open.sent, outcome) {
                    (Some(sent), Outcome::Failed(failure)) => Outcome::Unknown {
                        why: format!(
                            "it was sent at {}; since then: {}",
                            sent.at, failure.message
                        ),
                    },
                    (_, outcome) => outcome,
                };
                self.end_stored(&open, outcome, now);
                return Inserted::Known;
            }
        };
        let inserted = self.insert(ready, now, refill);
        if let Some(sent) = sent
            && inserted == Inserted::Queued
        {
            self.take_sent(id, sent, now);
        }
        inserted
    }

    /// From a stored task to one that can be sent, or the outcome with which it ends here.
    #[allow(clippy::result_large_err)] // the error path is rare and owns what it ends
    fn ready(
        &self,
        open: OpenTask,
        line: Option<Line>,
        now: Time,
    ) -> Result<Ready, (OpenTask, Outcome)> {
        let refuse = |open, why: String| Err((open, Outcome::failed(FailureCode::Refused, why)));
        let body: TaskBody = match serde_json::from_slice(&open.body) {
            Ok(body) => body,
            Err(e) => return refuse(open, format!("stored task cannot be read: {e}")),
        };
        let target = self
            .shared
            .inventory
            .read()
            .by_uid
            .get(&open.target)
            .cloned();
        let Some(target) = target else {
            let why = super::send::DELETED.to_owned();
            return Err((open, Outcome::Cancelled { why }));
        };
        if let Some(outcome) = super::alter::of_another_kind(&body.kind, &target.kind) {
            return Err((open, outcome));
        }
        let kind = match &body.version {
            Some(version) => self.catalog.version(&body.kind, version),
            None => self.catalog.kinds.get(&body.kind),
        };
        let Some(kind) = kind.cloned() else {
            if let Some(version) = &body.version {
                let why = format!(
                    "the task is pinned to {}@{version}, which is not known any more",
                    body.kind
                );
                return refuse(open, why);
            }
            return refuse(
                open,
                format!("no worker of kind {} is known any more", body.kind),
            );
        };
        let Some(action) = kind.actions.get(&body.action).cloned() else {
            return refuse(
                open,
                format!("kind {} has no action {} any more", body.kind, body.action),
            );
        };
        if open.sent.is_some() && body.effect == Effect::Probe && action.decl.probe.is_none() {
            let why = format!("action {} has no probe any more", body.action);
            return refuse(open, why);
        }
        let history = open.history.lines().filter(|line| !line.is_empty());
        let checkpoint = open.checkpoint.as_ref().and_then(|c| {
            serde_json::value::RawValue::from_string(String::from_utf8_lossy(c).into_owned()).ok()
        });
        Ok(Ready {
            id: open.id,
            priority: open.priority,
            line: line.unwrap_or_else(|| {
                crate::tasks::line(&target.zone, &target.kind, body.effect.class())
            }),
            attempt: open.attempt.max(1),
            // No retry waits longer: what is later was written by a clock that has been set back since.
            not_before: open
                .not_before
                .filter(|at| *at <= now.plus_ms(limits::RETRY_AFTER_MAX_MS))
                .unwrap_or(Time(0)),
            payload: Payload {
                target,
                kind,
                action,
                effect: body.effect,
                params: body.params,
                timeout_ms: body.timeout_ms,
                start_by: body.start_by,
                run: open.run,
                batch: open.batch,
                volatile: false,
                frames: body.frames,
                tries: open.attempt.max(1),
                in_vain: 0,
                perhaps: None,
                history: history.map(str::to_owned).collect(),
                checkpoint,
                cancelled: false,
                lease_until: Time(0),
                adopted: None,
                probing: None,
                sent_at: open.sent.map(|s| s.at),
                wee: None,
                claim: None,
                pinned: body.version.map(String::into_boxed_str),
                chosen: None,
                trial: None,
                shadow: None,
            },
        })
    }
}

/// A store that cannot be read is asked again, but not at once.
async fn rest_after(tasks: &Result<Vec<OpenTask>, StoreError>) {
    if tasks.is_err() {
        tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
    }
}
