//! The one lasting connection to each gateway, shared by all targets behind it, one request at a time.
//!
//! It must never send a request twice, and never take an answer for another request's: after silence or nonsense the
//! connection is closed, since what comes late on it cannot be told from what is asked next.

use crate::frame::{self, Denied, Reply, Request};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout, timeout_at};

/// A gateway that no task needed for so long gives its connection back: many have only one or two.
const IDLE: Duration = Duration::from_secs(600);
/// Idle ones are looked for this often, and only when a task comes.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Answers of other requests that are thrown away while one is waited for.
const STRAY_MAX: u32 = 64;
/// What is kept of when points were written.
const SETS_MAX: usize = 4_096;

/// How a gateway is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub connect: Duration,
    /// For one answer.
    pub answer: Duration,
    /// Between an answer and the next request: some lines need to rest.
    pub pause: Duration,
    /// Between two connections: some gateways die of more than one a second.
    pub reopen: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Lost {
    /// Nothing of the request has left.
    NotSent(String),
    /// It was sent, and what became of it is not known. The connection is closed.
    Unanswered { why: String, how: How },
}

/// What came in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Silence,
    /// The end of the connection.
    Closed,
    /// The end of a connection that had been idle: most likely the request never arrived.
    Stale,
    /// Something that is no answer to this request.
    Nonsense,
}

/// What the device said.
#[derive(Debug)]
pub struct Answer {
    /// The reply, or an exception code.
    pub reply: Result<Reply, u8>,
    /// Counts the connections of this gateway: behind another one may be another device.
    pub connection: u64,
}

#[derive(Default)]
pub struct Gateways(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_address: HashMap<String, Arc<Gateway>>,
    swept: Option<Instant>,
}

pub struct Gateway {
    address: String,
    line: tokio::sync::Mutex<Line>,
    used: Mutex<Instant>,
    /// When which register of which unit was last written.
    sets: Mutex<HashMap<(u8, u16), Instant>>,
    /// By unit: who changes it.
    changes: Mutex<HashMap<u8, Arc<tokio::sync::Mutex<()>>>>,
}

/// What only one task at a time may touch.
#[derive(Default)]
struct Line {
    link: Option<Link>,
    /// Of the last request; never starts over with a new connection.
    transaction: u16,
    connections: u64,
    opened: Option<Instant>,
    /// Of the last attempt to open, when it failed.
    failed: Option<(Instant, String)>,
    answered: Option<Instant>,
}

struct Link {
    stream: TcpStream,
    /// Bytes that are no whole frame yet.
    buffer: Vec<u8>,
    requests: u64,
}

impl Gateways {
    pub fn of(&self, address: &str) -> Arc<Gateway> {
        let now = Instant::now();
        let mut open = self.0.lock();
        if open.swept.is_none_or(|at| now - at >= SWEEP_EVERY) {
            open.swept = Some(now);
            open.by_address
                .retain(|_, g| Arc::strong_count(g) > 1 || now - *g.used.lock() < IDLE);
        }
        let gateway = open
            .by_address
            .entry(address.to_owned())
            .or_insert_with(|| {
                Arc::new(Gateway {
                    address: address.to_owned(),
                    line: tokio::sync::Mutex::default(),
                    used: Mutex::new(now),
                    sets: Mutex::default(),
                    changes: Mutex::default(),
                })
            });
        *gateway.used.lock() = now;
        gateway.clone()
    }

    /// Closes all connections that nobody uses.
    pub fn close(&self) {
        self.0.lock().by_address.clear();
    }
}

impl Gateway {
    /// Sends `request` once and gives what the unit says to it. Waits for its turn.
    ///
    /// Dropping it in the middle closes the connection. With `only_on`, it is sent over that connection or not at all.
    ///
    /// # Errors
    /// `NotSent` or `Unanswered`, by what is sure.
    pub async fn exchange(
        &self,
        unit: u8,
        request: &(impl Request + Sync),
        pace: &Pace,
        only_on: Option<u64>,
    ) -> Result<Answer, Lost> {
        let mut line = self.line.lock().await;
        // Taken out, so that the connection is closed if this future is dropped or fails below.
        let mut link = match line.link.take().filter(Link::is_open) {
            Some(link) if only_on.is_none_or(|on| on == line.connections) => link,
            _ if only_on.is_some() => {
                let why = format!("{}: the connection was closed meanwhile", self.address);
                return Err(Lost::NotSent(why));
            }
            _ => self.open(&mut line, pace).await?,
        };
        if let Some(answered) = line.answered {
            tokio::time::sleep_until(answered + pace.pause).await;
        }
        line.transaction = line.transaction.wrapping_add(1);
        let transaction = line.transaction;
        let bytes = request.frame(transaction, unit);
        let end = Instant::now() + pace.answer;
        let closed = if link.requests > 0 {
            How::Stale
        } else {
            How::Closed
        };
        link.requests += 1;
        let unanswered = |how: How, why: String| Lost::Unanswered {
            why: format!("{}, unit {unit}: {why}", self.address),
            how,
        };
        match timeout_at(end, link.stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(unanswered(closed, format!("the connection broke: {e}"))),
            Err(_) => {
                let why = "the connection takes nothing".to_owned();
                return Err(unanswered(How::Silence, why));
            }
        }
        let pdu = match timeout_at(end, link.answer(transaction, unit)).await {
            Ok(Ok(pdu)) => pdu,
            Ok(Err(Broken::Closed(why))) => return Err(unanswered(closed, why)),
            Ok(Err(Broken::Nonsense(why))) => return Err(unanswered(How::Nonsense, why)),
            Err(_) => {
                let why = format!("no answer within {} ms", pace.answer.as_millis());
                return Err(unanswered(How::Silence, why));
            }
        };
        let reply = match request.understand(&pdu) {
            Ok(reply) => Ok(reply),
            Err(Denied::Exception(code)) => Err(code),
            Err(Denied::Nonsense(why)) => return Err(unanswered(How::Nonsense, why)),
        };
        line.answered = Some(Instant::now());
        line.link = Some(link);
        Ok(Answer {
            reply,
            connection: line.connections,
        })
    }

    async fn open(&self, line: &mut Line, pace: &Pace) -> Result<Link, Lost> {
        // Everyone who waited behind a failed attempt would otherwise wait as long, one after the other.
        if let Some((at, why)) = &line.failed
            && at.elapsed() < pace.reopen
        {
            return Err(Lost::NotSent(why.clone()));
        }
        if let Some(opened) = line.opened {
            tokio::time::sleep_until(opened + pace.reopen).await;
        }
        line.opened = Some(Instant::now());
        let why = match timeout(pace.connect, TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => {
                // A request is one small segment; waiting for more to send would cost 40 ms each.
                let _ = stream.set_nodelay(true);
                line.failed = None;
                line.connections += 1;
                return Ok(Link {
                    stream,
                    buffer: Vec::new(),
                    requests: 0,
                });
            }
            Ok(Err(e)) => format!("connect to {}: {e}", self.address),
            Err(_) => {
                let ms = pace.connect.as_millis();
                format!("connect to {}: not within {ms} ms", self.address)
            }
        };
        line.failed = Some((Instant::now(), why.clone()));
        Err(Lost::NotSent(why))
    }

    /// The turn to change `unit`: two changes, even by two Records of one device, must not read each other's back.
    pub async fn change(&self, unit: u8) -> OwnedMutexGuard<()> {
        let turn = self.changes.lock().entry(unit).or_default().clone();
        turn.lock_owned().await
    }

    /// What is left of `interval` since this register was last written.
    pub fn rest(&self, unit: u8, address: u16, interval: Duration) -> Option<Duration> {
        let at = *self.sets.lock().get(&(unit, address))?;
        interval.checked_sub(at.elapsed()).filter(|r| !r.is_zero())
    }

    pub fn note_set(&self, unit: u8, address: u16) {
        let mut sets = self.sets.lock();
        if sets.len() >= SETS_MAX {
            sets.clear();
        }
        sets.insert((unit, address), Instant::now());
    }
}

enum Broken {
    Closed(String),
    Nonsense(String),
}

impl Link {
    /// Whether the gateway has not closed it meanwhile. What came without being asked for is kept and thrown away by its
    /// transaction later.
    fn is_open(&self) -> bool {
        // Peeking must not take bytes: they may be the rest of a frame.
        let mut byte = [0];
        let mut peek = tokio::io::ReadBuf::new(&mut byte);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match self.stream.poll_peek(&mut context, &mut peek) {
            std::task::Poll::Ready(Ok(bytes)) => bytes > 0,
            std::task::Poll::Ready(Err(_)) => false,
            std::task::Poll::Pending => true,
        }
    }

    /// The PDU that answers `transaction`. Answers to earlier requests are thrown away.
    async fn answer(&mut self, transaction: u16, unit: u8) -> Result<Vec<u8>, Broken> {
        let mut strays = 0;
        loop {
            while let Some(frame) = frame::cut(&mut self.buffer).map_err(Broken::Nonsense)? {
                if frame.transaction != transaction {
                    strays += 1;
                    if strays > STRAY_MAX {
                        let why = format!("over {STRAY_MAX} answers to other requests");
                        return Err(Broken::Nonsense(why));
                    }
                    continue;
                }
                if frame.unit != unit {
                    let why = format!("unit {} answered", frame.unit);
                    return Err(Broken::Nonsense(why));
                }
                return Ok(frame.pdu);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Broken::Closed("the connection was closed".to_owned())),
                Ok(_) => {}
                Err(e) => return Err(Broken::Closed(format!("the connection broke: {e}"))),
            }
        }
    }
}
