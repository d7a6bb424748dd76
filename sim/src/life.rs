//! Lives: what runs as one process. A life can be held (it is not polled, and wakes up later with its timers long over),
//! ended (all that it was doing is dropped, wherever it was), and its clock of the wall can be set.

use futures::future::BoxFuture;
use parking_lot::Mutex;
use sengu_execution::Ended;
use sengu_model::Time;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Once;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// The first millisecond of every run: 2026-01-01.
pub const START_MS: i64 = 1_767_225_600_000;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[derive(Debug)]
pub struct Life {
    pub name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dead: bool,
    held: bool,
    /// Added to its clock of the wall.
    offset_ms: i64,
    next: u64,
    /// Of all that runs in it.
    wakers: BTreeMap<u64, Waker>,
}

impl Life {
    pub fn new(name: &str, offset_ms: i64) -> Arc<Life> {
        Arc::new(Life {
            name: name.to_owned(),
            state: Mutex::new(State {
                offset_ms,
                ..State::default()
            }),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    pub fn is_held(&self) -> bool {
        self.state.lock().held
    }

    /// Ends it here: nothing of it runs again.
    pub fn kill(&self) {
        self.state.lock().dead = true;
        self.wake_all();
    }

    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    pub fn wake(&self) {
        self.state.lock().held = false;
        self.wake_all();
    }

    pub fn set_clock(&self, offset_ms: i64) {
        self.state.lock().offset_ms = offset_ms;
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = self.state.lock().wakers.values().cloned().collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Runs `future` as a part of this life; None when the life ends first.
    pub fn run<F: Future + Send + 'static>(self: &Arc<Life>, future: F) -> Part<F::Output> {
        let number = {
            let mut state = self.state.lock();
            state.next += 1;
            state.next
        };
        Part {
            life: self.clone(),
            number,
            inner: Some(Box::pin(future)),
        }
    }
}

/// Something that runs in a life.
pub struct Part<T> {
    life: Arc<Life>,
    number: u64,
    inner: Option<BoxFuture<'static, T>>,
}

impl<T> Future for Part<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let life = self.life.clone();
        let (dead, held) = {
            let mut state = life.state.lock();
            let known = state.wakers.get(&self.number);
            if !known.is_some_and(|w| w.will_wake(context.waker())) {
                state.wakers.insert(self.number, context.waker().clone());
            }
            (state.dead, state.held)
        };
        if dead {
            let before = CURRENT.replace(Some(life));
            self.inner = None;
            CURRENT.set(before);
            return Poll::Ready(None);
        }
        if held {
            return Poll::Pending;
        }
        let before = CURRENT.replace(Some(life));
        let polled = match &mut self.inner {
            Some(inner) => inner.as_mut().poll(context),
            None => Poll::Pending,
        };
        CURRENT.set(before);
        polled.map(Some)
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.life.state.lock().wakers.remove(&self.number);
    }
}

/// The life that is being polled.
pub fn current() -> Option<Arc<Life>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Virtual milliseconds since the run began.
pub fn elapsed_ms() -> u64 {
    let began = BEGAN.get();
    began.map_or(0, |at| at.elapsed().as_millis() as u64)
}

/// To be called inside the runtime of a run.
pub fn begin_time() {
    BEGAN.set(Some(Instant::now()));
}

fn now() -> Time {
    let offset = CURRENT.with_borrow(|life| life.as_ref().map_or(0, |l| l.state.lock().offset_ms));
    Time(START_MS + elapsed_ms() as i64 + offset)
}

fn begin(future: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
    match current() {
        Some(life) => {
            let part = life.run(future);
            Box::pin(async move {
                part.await;
            })
        }
        None => future,
    }
}

fn begin_wee(future: BoxFuture<'static, Ended>) -> BoxFuture<'static, Ended> {
    match current() {
        Some(life) => {
            let part = life.run(future);
            Box::pin(async move { part.await.unwrap_or(Ended::Died) })
        }
        None => future,
    }
}

/// Puts this module in the place of the system, once per process.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        sengu_logic::clock::simulate(sengu_logic::clock::Simulated { now, begin });
        sengu_execution::clock::simulate(sengu_execution::clock::Simulated {
            now,
            begin: begin_wee,
        });
    });
}
