//! The way into dispatch: what may be asked of it, and the handle by which everybody else asks.

use super::arrivals::{Arrival, Arrivals};
use super::{Glimpse, Overview, Ready, Standing, route};
use sengu_model::{RunId, TaskId, Uid};
use sengu_store::OpenTask;
use tokio::sync::{mpsc, oneshot};

const INPUTS_MAX: usize = 8_192;

pub enum Input {
    /// Committed tasks of one request, in id order; under way since before they were committed.
    New(Vec<Ready>, Arrival),
    /// Tasks at and above this id were released: read them from the store.
    Stored {
        from: TaskId,
    },
    Sweep(Vec<Ready>),
    /// The quarantine of these targets was ended. It is kept that it was, also where what is about to be written was
    /// read before.
    Uncordoned(Vec<Uid>),
    Cancel {
        tasks: Vec<TaskId>,
        why: String,
        /// Also those that a worker has in hand already.
        out_too: bool,
        /// Those that are not in memory.
        reply: oneshot::Sender<Vec<TaskId>>,
    },
    /// Ends tasks that were open in the store and not in memory.
    CancelStored {
        tasks: Vec<OpenTask>,
        why: String,
        out_too: bool,
        arrival: Arrival,
    },
    Standing {
        tasks: Vec<TaskId>,
        reply: oneshot::Sender<Vec<Option<Standing>>>,
    },
    Lane {
        target: Uid,
        reply: oneshot::Sender<(Option<TaskId>, u16, usize)>,
    },
    Overview(oneshot::Sender<Overview>),
    Glimpse(oneshot::Sender<Glimpse>),
    /// The same tasks by id.
    OutOf {
        run: RunId,
        reply: oneshot::Sender<Vec<TaskId>>,
    },
    /// Tasks of a run that are sent or started.
    RunOut {
        run: RunId,
        reply: oneshot::Sender<u32>,
    },
    /// A run was paused (`held`), or goes on: then its tasks from `from` on are read from the store again.
    Pause {
        run: RunId,
        held: bool,
        from: TaskId,
    },
    /// Targets that people changed or deleted.
    Altered(Vec<Uid>),
    /// The WEEs changed.
    Windows(route::Windows),
    Stop(oneshot::Sender<()>),
}

#[derive(Clone)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
    arrivals: Arrivals,
}

/// The other end of a `Handle`.
pub struct Inputs {
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) arrivals: Arrivals,
}

impl Handle {
    pub fn channel() -> (Handle, Inputs) {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let arrivals = Arrivals::default();
        let handle = Handle {
            inputs: sender,
            arrivals: arrivals.clone(),
        };
        (handle, Inputs { inputs, arrivals })
    }

    /// To be held from before tasks are committed or read until dispatch has them.
    pub fn arriving(&self) -> Arrival {
        self.arrivals.begin()
    }

    pub async fn send(&self, input: Input) {
        // Only refused when dispatch has stopped; what was committed is taken up at the next start.
        let _ = self.inputs.send(input).await;
    }

    pub async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.send(make(reply)).await;
        answer.await.ok()
    }

    pub async fn standing(&self, task: TaskId) -> Option<Standing> {
        let tasks = vec![task];
        let all = self.ask(|reply| Input::Standing { tasks, reply }).await;
        all.and_then(|mut all| all.pop().flatten())
    }
}
