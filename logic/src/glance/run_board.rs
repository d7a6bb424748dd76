//! Grids of runs that are kept current while somebody looks: one per run, for all who look.

use super::grid::{GridChanged, RunGrid};
use crate::core::Logic;
use crate::dispatch::Input;
use crate::records::store_problem;
use parking_lot::Mutex;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{Problem, RunId, TaskId, limits};
use sengu_store::RunTask;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// What happened to tasks of a run.
#[derive(Debug, Clone, Copy)]
enum Event {
    Task(TaskId, u8),
    /// Batches up to this one were let go.
    Released(u32),
    /// What had not begun was ended.
    Halted,
}

#[derive(Default)]
pub struct RunBoards {
    looking: AtomicUsize,
    all: Mutex<HashMap<RunId, Weak<RunBoard>>>,
}

pub struct RunBoard {
    run: RunId,
    inner: Mutex<Inner>,
    /// One at a time reads the run from the store.
    reading: tokio::sync::Mutex<()>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    grid: Option<Painted>,
    /// What happened while the run is read from the store.
    meanwhile: Vec<Event>,
    /// Counts how often the run was given other tasks.
    round: u64,
}

struct Painted {
    targets: Arc<[String]>,
    batch: Arc<[u32]>,
    state: Vec<u8>,
    places: HashMap<TaskId, usize>,
    truncated: bool,
}

/// What was told to one who looks.
pub struct Told {
    state: Vec<u8>,
    round: u64,
}

/// Letter of a task that has ended.
pub fn ended(status: Status, changed: bool) -> u8 {
    match status {
        Status::Done if changed => b'c',
        Status::Done => b'd',
        Status::Failed => b'f',
        Status::Unknown => b'u',
        Status::Cancelled => b'x',
        Status::Expired => b'e',
    }
}

pub const WAITING: u8 = b'w';
pub const ACTIVE: u8 = b'a';

impl RunBoards {
    /// The board of a run. None when as many are kept as may be.
    pub fn board(&self, run: RunId) -> Option<Arc<RunBoard>> {
        let mut all = self.all.lock();
        all.retain(|_, board| board.strong_count() > 0);
        if let Some(board) = all.get(&run).and_then(Weak::upgrade) {
            return Some(board);
        }
        if all.len() >= limits::GRID_VIEWS_MAX {
            return None;
        }
        let board = Arc::new(RunBoard {
            run,
            inner: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(0),
        });
        all.insert(run, Arc::downgrade(&board));
        self.looking.store(all.len(), Ordering::Release);
        Some(board)
    }

    pub fn task(&self, run: Option<RunId>, task: TaskId, letter: u8) {
        self.happened(run, Event::Task(task, letter));
    }

    pub fn released(&self, run: RunId, batch: u32) {
        self.happened(Some(run), Event::Released(batch));
    }

    pub fn halted(&self, run: RunId) {
        self.happened(Some(run), Event::Halted);
    }

    /// The run was given other tasks: it is to be read again.
    pub fn renewed(&self, run: RunId) {
        if let Some(board) = self.find(Some(run)) {
            let mut inner = board.inner.lock();
            inner.grid = None;
            inner.round += 1;
            drop(inner);
            board.changed.send_modify(|n| *n += 1);
        }
    }

    fn happened(&self, run: Option<RunId>, event: Event) {
        let Some(board) = self.find(run) else { return };
        let mut inner = board.inner.lock();
        let Inner {
            grid, meanwhile, ..
        } = &mut *inner;
        match grid {
            Some(grid) => grid.take(event),
            None if meanwhile.len() < limits::TARGETS_PER_RUN_MAX => meanwhile.push(event),
            None => {}
        }
        drop(inner);
        board.changed.send_modify(|n| *n += 1);
    }

    /// Costs one load of a number while nobody looks at any run.
    fn find(&self, run: Option<RunId>) -> Option<Arc<RunBoard>> {
        if self.looking.load(Ordering::Acquire) == 0 {
            return None;
        }
        let run = run?;
        let mut all = self.all.lock();
        let found = all.get(&run).and_then(Weak::upgrade);
        if found.is_none() {
            all.retain(|_, board| board.strong_count() > 0);
            self.looking.store(all.len(), Ordering::Release);
        }
        found
    }
}

impl RunBoard {
    /// Wakes when something happened.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All of it as it is now.
    ///
    /// # Errors
    /// The store's.
    pub async fn whole(&self, logic: &Logic) -> Result<(RunGrid, Told), Problem> {
        let _one_reads = self.reading.lock().await;
        let revision = *logic.shared.revision.borrow();
        let wanted = {
            let mut inner = self.inner.lock();
            if inner.grid.is_none() {
                // From here on everything is noted, before the store is read.
                inner.meanwhile.clear();
            }
            inner.grid.is_none().then_some(inner.round)
        };
        if let Some(round) = wanted {
            let mut painted = paint(logic, self.run).await?;
            let mut inner = self.inner.lock();
            for event in std::mem::take(&mut inner.meanwhile) {
                painted.take(event);
            }
            // One that was given other tasks meanwhile is read again by whoever is woken.
            if inner.round == round {
                inner.grid = Some(painted);
            }
        }
        let inner = self.inner.lock();
        let Some(grid) = &inner.grid else {
            // Renewed just now: whoever looks is woken and asks again.
            let grid = RunGrid {
                revision,
                targets: Vec::new(),
                batch: Vec::new(),
                state: String::new(),
                truncated: false,
            };
            let told = Told {
                state: Vec::new(),
                round: u64::MAX,
            };
            return Ok((grid, told));
        };
        let seen = RunGrid {
            revision,
            targets: grid.targets.to_vec(),
            batch: grid.batch.to_vec(),
            state: text(&grid.state),
            truncated: grid.truncated,
        };
        let told = Told {
            state: grid.state.clone(),
            round: inner.round,
        };
        Ok((seen, told))
    }

    /// What differs from what was told; None when it is to be told whole.
    pub fn difference(&self, told: &mut Told) -> Option<GridChanged> {
        let inner = self.inner.lock();
        let grid = inner.grid.as_ref().filter(|_| inner.round == told.round)?;
        let differs = |at: &usize| grid.state[*at] != told.state[*at];
        let places: Vec<usize> = (0..grid.state.len()).filter(differs).collect();
        let state: Vec<u8> = places.iter().map(|at| grid.state[*at]).collect();
        told.state.clone_from(&grid.state);
        Some(GridChanged {
            i: places.into_iter().map(|at| at as u32).collect(),
            state: text(&state),
        })
    }
}

async fn paint(logic: &Logic, run: RunId) -> Result<Painted, Problem> {
    let shared = &logic.shared;
    let mut tasks = shared.store.run_tasks(run).await.map_err(store_problem)?;
    let out = logic
        .dispatch
        .ask(|reply| Input::OutOf { run, reply })
        .await;
    let out: HashSet<TaskId> = out.unwrap_or_default().into_iter().collect();
    tasks.sort_unstable_by_key(|t| t.id);
    let truncated = tasks.len() > limits::TILES_MAX;
    tasks.truncate(limits::TILES_MAX);
    let inventory = shared.inventory.read();
    let name = |task: &RunTask| match inventory.by_uid.get(&task.target) {
        Some(target) => target.name.to_string(),
        None => format!("{} (deleted)", task.target),
    };
    let letter = |task: &RunTask| match (task.status, task.priority) {
        (Some(status), _) => ended(status, task.changed),
        (None, Some(Priority::Held)) => b'h',
        (None, _) if out.contains(&task.id) => ACTIVE,
        (None, _) => WAITING,
    };
    Ok(Painted {
        targets: tasks.iter().map(name).collect(),
        batch: tasks.iter().map(|t| t.batch).collect(),
        state: tasks.iter().map(letter).collect(),
        places: tasks.iter().enumerate().map(|(at, t)| (t.id, at)).collect(),
        truncated,
    })
}

impl Painted {
    fn take(&mut self, event: Event) {
        match event {
            Event::Task(task, letter) => {
                if let Some(at) = self.places.get(&task) {
                    self.state[*at] = letter;
                }
            }
            Event::Released(batch) => {
                for (state, of) in self.state.iter_mut().zip(self.batch.iter()) {
                    if *state == b'h' && *of <= batch {
                        *state = WAITING;
                    }
                }
            }
            Event::Halted => {
                for state in self.state.iter_mut().filter(|state| **state == b'h') {
                    *state = b'x';
                }
            }
        }
    }
}

fn text(letters: &[u8]) -> String {
    letters.iter().map(|letter| char::from(*letter)).collect()
}
