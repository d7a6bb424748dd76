//! The seam between what decides and what does: `next` says which step comes, `feed` takes the answer.
//!
//! Inside, a task is written as one async function from top to bottom; it is polled here by hand, so that there is no
//! runtime, no thread and no clock: whoever holds the driver brings the time and does the IO, blocking or not.

use crate::config::Trust;
use crate::limits;
use crate::memory::{Memory, lock};
use crate::outcome::{Failure, FailureCode, Outcome, Reading};
use crate::reply::{Response, Trouble};
use crate::task::{self, Task};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// One request to make, on whatever connection.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Absolute: `https://host[:port]/path?query`.
    pub url: String,
    /// Without Host and Content-Length. Authorization is among them: never log these.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// From now until the answer is whole.
    pub timeout_ms: u64,
    /// More bytes of body than this on the wire are `Trouble::Garbled`.
    pub body_bytes_max: usize,
    pub trust: Trust,
    /// It changes nothing, so it may be sent again when a kept connection breaks under it. Never resend any other.
    pub repeatable: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Make this request and `feed` what came of it. Redirects are not to be followed, bodies not to be decompressed.
    Fetch(Request),
    /// Come back in this many milliseconds, or when the task is cancelled.
    Wait { ms: u64 },
    /// Hand this over before going on: a probe gets it if this attempt is lost.
    Checkpoint(Value),
    /// The task is over.
    End(End),
}

/// What a task gave.
#[derive(Debug)]
pub struct End {
    pub outcome: Outcome,
    pub readings: Vec<Reading>,
    pub facts: BTreeMap<String, Value>,
}

impl End {
    pub fn of(outcome: impl Into<Outcome>) -> End {
        End {
            outcome: outcome.into(),
            readings: Vec::new(),
            facts: BTreeMap::new(),
        }
    }
}

/// One task on its way.
pub struct Driver {
    desk: Arc<Mutex<Desk>>,
    /// None once it has ended.
    work: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
}

/// Where the two sides put things down for each other.
#[derive(Default)]
struct Desk {
    now_ms: u64,
    cancelled: bool,
    ask: Option<Ask>,
    reply: Option<Result<Response, Trouble>>,
    fetching: bool,
}

enum Ask {
    Fetch(Box<Request>),
    Wait { until_ms: u64 },
    Checkpoint(Value),
}

impl Driver {
    /// `now_ms`: milliseconds since the Unix epoch, as in every later call; it must not go backwards.
    pub fn new(task: Task, memory: Arc<Memory>, now_ms: u64) -> Driver {
        let desk = Arc::new(Mutex::new(Desk {
            now_ms,
            ..Desk::default()
        }));
        let io = Io(desk.clone());
        let handover = limits::HANDOVER_MS.min(task.timeout_ms / 5);
        let deadline_ms = now_ms.saturating_add(task.timeout_ms.saturating_sub(handover));
        Driver {
            desk,
            work: Some(Box::pin(task::run(task, memory, io, deadline_ms))),
        }
    }

    /// The next step. After `Fetch` comes `feed`, then this again; after the others just this.
    pub fn next(&mut self, now_ms: u64) -> Step {
        {
            let mut desk = lock(&self.desk);
            desk.now_ms = desk.now_ms.max(now_ms);
            if std::mem::take(&mut desk.fetching) && desk.reply.is_none() {
                let message = "nobody said what became of the request".to_owned();
                desk.reply = Some(Err(Trouble::Cut(message)));
            }
        }
        let Some(work) = &mut self.work else {
            let failure = Failure::new(FailureCode::Crashed, "the task has ended already");
            return Step::End(End::of(failure));
        };
        if let Poll::Ready(end) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.work = None;
            return Step::End(end);
        }
        let mut desk = lock(&self.desk);
        match desk.ask.take() {
            Some(Ask::Fetch(request)) => {
                desk.fetching = true;
                Step::Fetch(*request)
            }
            Some(Ask::Wait { until_ms }) => Step::Wait {
                ms: until_ms.saturating_sub(desk.now_ms),
            },
            Some(Ask::Checkpoint(value)) => Step::Checkpoint(value),
            // Nothing inside waits for anything but these.
            None => Step::Wait { ms: 1 },
        }
    }

    /// What came of the request of the last `Fetch`.
    pub fn feed(&mut self, reply: Result<Response, Trouble>) {
        lock(&self.desk).reply = Some(reply);
    }

    /// The task is to end as soon as that is safe; call `next` as before.
    pub fn cancel(&mut self) {
        lock(&self.desk).cancelled = true;
    }
}

/// The inner side of the desk.
#[derive(Clone)]
pub struct Io(Arc<Mutex<Desk>>);

impl Io {
    pub fn now_ms(&self) -> u64 {
        lock(&self.0).now_ms
    }

    pub fn cancelled(&self) -> bool {
        lock(&self.0).cancelled
    }

    pub async fn fetch(&self, request: Request) -> Result<Response, Trouble> {
        {
            let mut desk = lock(&self.0);
            desk.reply = None;
            desk.ask = Some(Ask::Fetch(Box::new(request)));
        }
        std::future::poll_fn(|_| match lock(&self.0).reply.take() {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits until then, or until the task is cancelled.
    pub async fn wait_until(&self, until_ms: u64) {
        std::future::poll_fn(|_| {
            let mut desk = lock(&self.0);
            if desk.cancelled || desk.now_ms >= until_ms {
                return Poll::Ready(());
            }
            desk.ask = Some(Ask::Wait { until_ms });
            Poll::Pending
        })
        .await;
    }

    /// As `wait_until`, when being cancelled is no reason to hurry.
    pub async fn pause(&self, ms: u64) {
        let until_ms = self.now_ms().saturating_add(ms);
        std::future::poll_fn(|_| {
            let mut desk = lock(&self.0);
            if desk.now_ms >= until_ms {
                return Poll::Ready(());
            }
            desk.ask = Some(Ask::Wait { until_ms });
            Poll::Pending
        })
        .await;
    }

    pub async fn checkpoint(&self, value: Value) {
        lock(&self.0).ask = Some(Ask::Checkpoint(value));
        let mut told = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut told, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
