//! A few threads that read, each with its own connection, started when first needed. A read begins after every commit
//! that was acknowledged before it, because each takes a fresh snapshot.

use crate::error::{broken, from_shared};
use crate::schema;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use sengu_store::StoreError;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot};

/// A slow list must not hold up a quick look-up; more than this only costs memory.
const READERS_MAX: usize = 3;
/// Reads that may wait; more wait in their callers.
const READS_WAITING_MAX: usize = 256;

type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

pub struct Readers {
    shared: Arc<Shared>,
    room: Semaphore,
}

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    idle: usize,
    closed: bool,
}

impl Readers {
    pub fn new(path: PathBuf) -> Readers {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared {
            path,
            state,
            work: Condvar::new(),
        });
        Readers {
            shared,
            room: Semaphore::new(READS_WAITING_MAX),
        }
    }

    /// Runs `read` on a reader.
    pub async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _room = self.room.acquire().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(move |connection| {
            let outcome =
                connection.and_then(|c| read(c).map_err(|e| from_shared(what, &Arc::new(e))));
            let _ = reply.send(outcome);
        }))?;
        answer.await.map_err(|_| broken("a read was given up"))?
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads.len() < READERS_MAX {
            let shared = self.shared.clone();
            let spawned = std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || serve(&shared));
            match spawned {
                Ok(thread) => state.threads.push(thread),
                // With a thread there is someone to do it, if later.
                Err(_) if !state.threads.is_empty() => {}
                Err(error) => {
                    state.jobs.pop_back();
                    return Err(StoreError::Unavailable(Box::new(error)));
                }
            }
        }
        self.shared.work.notify_one();
        Ok(())
    }

    /// Refuses new reads, finishes those that wait, and ends the threads. Blocks for as long as a read takes.
    pub fn close(&self) {
        let threads = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            std::mem::take(&mut state.threads)
        };
        self.room.close();
        self.shared.work.notify_all();
        for thread in threads {
            // A reader that panicked has dropped its job, whose caller was told.
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared) {
    let mut connection: Option<Connection> = None;
    let mut state = shared.state.lock();
    loop {
        let Some(job) = state.jobs.pop_front() else {
            if state.closed {
                return;
            }
            state.idle += 1;
            shared.work.wait(&mut state);
            state.idle -= 1;
            continue;
        };
        drop(state);
        if connection.is_none() {
            match schema::open_reader(&shared.path) {
                Ok(opened) => connection = Some(opened),
                Err(error) => {
                    job(Err(from_shared("open a reader", &Arc::new(error))));
                    state = shared.state.lock();
                    continue;
                }
            }
        }
        if let Some(connection) = &connection {
            // A defect in one read must not take a reader from all others; its caller learns from the lost reply.
            let read = std::panic::AssertUnwindSafe(|| job(Ok(connection)));
            if std::panic::catch_unwind(read).is_err() {
                tracing::error!("a read panicked");
            }
        }
        state = shared.state.lock();
    }
}
