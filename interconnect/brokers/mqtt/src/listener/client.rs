//! One follower's connection, from its first byte to its last.

use super::codec::{self, Heard, Hello, Malformed, Refusal, Version};
use super::hub::{Hub, Meter, Out};
use super::{House, KEEP_ALIVE_MAX};
use crate::wire::Stream;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep_until, timeout};

/// From the connection to the end of CONNECT, TLS included.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// A follower that reads nothing for this long is gone.
const STUCK_MAX: Duration = Duration::from_secs(20);
/// Written at once, in bytes; the rest waits where its bound is kept.
const OUT_BYTES: usize = 64 << 10;
/// The last words are written within this.
const BYE_MAX: Duration = Duration::from_secs(1);
/// Lines in the log about what one follower lost, at most one in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

const NOT_ALLOWED: u8 = 0x87;
const SHUTTING_DOWN: u8 = 0x8b;
const MALFORMED: u8 = 0x81;
const SILENT: u8 = 0x8d;
const TOO_SLOW: u8 = 0x97;

#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it said goodbye")]
    Bye,
    #[error("the listener stops")]
    Stop,
    #[error("it publishes, and this listener is for followers only")]
    Publishes,
    #[error("nothing was heard of it")]
    Silent,
    #[error("it read nothing")]
    Stuck,
    #[error("it did not know the token")]
    Token,
    #[error("too many follow already")]
    Crowded,
    #[error("no CONNECT in time")]
    Late,
    #[error("no MQTT")]
    Malformed(#[from] Malformed),
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

pub(super) async fn serve(
    house: Arc<House>,
    tcp: tokio::net::TcpStream,
    hello: OwnedSemaphorePermit,
) {
    let peer = tcp
        .peer_addr()
        .map_or_else(|_| "?".to_owned(), |peer| peer.to_string());
    let mut incoming = BytesMut::new();
    let entered = timeout(HELLO_MAX, enter(&house, tcp, &mut incoming));
    let entered = entered.await.unwrap_or(Err(End::Late));
    drop(hello);
    let end = match entered {
        Ok((stream, hello, _seat)) => {
            tracing::info!(peer, client = hello.client_id, "follows by MQTT");
            follow(&house.hub, &house, stream, incoming, hello, &peer).await
        }
        Err(end) => end,
    };
    match end {
        End::Bye | End::Stop | End::Io(_) => tracing::debug!(peer, %end, "a follower by MQTT left"),
        end => tracing::warn!(peer, %end, "a follower by MQTT was let go"),
    }
}

async fn enter(
    house: &House,
    tcp: tokio::net::TcpStream,
    incoming: &mut BytesMut,
) -> Result<(Stream, Hello, OwnedSemaphorePermit), End> {
    tcp.set_nodelay(true)?;
    let mut stream: Stream = match &house.tls {
        Some(tls) => Box::new(tls.accept(tcp).await?),
        None => Box::new(tcp),
    };
    let heard = loop {
        match codec::frame(incoming)? {
            Some((first, body)) => break codec::read(first, body, None),
            None if stream.read_buf(incoming).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            None => {}
        }
    };
    let (version, refusal, end) = match heard {
        Ok(Heard::Hello(hello)) => {
            let password = hello.password.as_deref().unwrap_or_default();
            if !bool::from(password.ct_eq(house.token.as_bytes())) || house.token.is_empty() {
                (hello.version, Refusal::Password, End::Token)
            } else if let Ok(seat) = house.seats.clone().try_acquire_owned() {
                return Ok((stream, hello, seat));
            } else {
                (hello.version, Refusal::Crowded, End::Crowded)
            }
        }
        Err(Malformed::Version) => (Version::V4, Refusal::Version, Malformed::Version.into()),
        Err(error) => return Err(error.into()),
        // Only a CONNECT is read before there is a version.
        Ok(_) => return Err(Malformed::Packet.into()),
    };
    let mut outgoing = BytesMut::new();
    codec::refuse(&mut outgoing, version, refusal);
    stream.write_all_buf(&mut outgoing).await?;
    stream.shutdown().await?;
    Err(end)
}

/// It follows no longer when this goes.
struct Joined<'a> {
    hub: &'a Hub,
    number: u64,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}

async fn follow(
    hub: &Hub,
    house: &House,
    stream: Stream,
    incoming: BytesMut,
    hello: Hello,
    peer: &str,
) -> End {
    let (number, queue, meter) = hub.join();
    let _joined = Joined { hub, number };
    let keep_alive = match hello.keep_alive {
        0 => KEEP_ALIVE_MAX,
        // Who speaks MQTT 5 is told the greatest; who does not keeps to what it said.
        asked if hello.version == Version::V5 => asked.min(KEEP_ALIVE_MAX),
        asked => asked,
    };
    let mut outgoing = BytesMut::new();
    codec::welcome(&mut outgoing, &hello, keep_alive);
    let mut line = Line {
        hub,
        number,
        version: hello.version,
        incoming,
        outgoing,
        kept: VecDeque::new(),
    };
    let silence_max = match (hello.version, hello.keep_alive) {
        // Nothing was promised, and nothing can be asked for: only its reading shows that it is there.
        (Version::V4, 0) => None,
        _ => Some(Duration::from_secs(u64::from(keep_alive)) * 3 / 2),
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let end = line
        .run(&mut from, &mut to, queue, &meter, silence_max, house, peer)
        .await;
    let reason = match end {
        End::Stop => SHUTTING_DOWN,
        End::Publishes => NOT_ALLOWED,
        End::Malformed(_) => MALFORMED,
        End::Silent => SILENT,
        End::Stuck => TOO_SLOW,
        _ => return end,
    };
    codec::bye(&mut line.outgoing, hello.version, reason);
    let goodbye = async {
        let _ = to.write_all_buf(&mut line.outgoing).await;
        let _ = to.shutdown().await;
    };
    let _ = timeout(BYE_MAX, goodbye).await;
    end
}

struct Line<'a> {
    hub: &'a Hub,
    number: u64,
    version: Version,
    incoming: BytesMut,
    outgoing: BytesMut,
    kept: VecDeque<Arc<super::hub::Event>>,
}

impl Line<'_> {
    #[allow(clippy::too_many_arguments)] // each is another end of the one loop
    async fn run(
        &mut self,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
        mut queue: mpsc::Receiver<Out>,
        meter: &Meter,
        silence_max: Option<Duration>,
        house: &House,
        peer: &str,
    ) -> End {
        let (mut heard, mut wrote) = (Instant::now(), Instant::now());
        let mut complained: Option<Instant> = None;
        let mut stop = house.stop.subscribe();
        let mut outs = Vec::new();
        if let Err(end) = self.take_in() {
            return end;
        }
        loop {
            while self.outgoing.len() < OUT_BYTES
                && let Some(event) = self.kept.pop_front()
            {
                codec::message(
                    &mut self.outgoing,
                    self.version,
                    true,
                    &event.topic,
                    &event.body,
                );
            }
            let writes = !self.outgoing.is_empty();
            if !writes {
                wrote = Instant::now();
            }
            let lost = meter.lost.load(Ordering::Relaxed);
            if lost > 0 && complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                meter.lost.fetch_sub(lost, Ordering::Relaxed);
                complained = Some(Instant::now());
                tracing::warn!(
                    peer,
                    lost,
                    "a follower by MQTT is too slow: it loses events"
                );
            }
            let silent_at = silence_max.map(|max| heard + max);
            let stuck_at = writes.then(|| wrote + STUCK_MAX);
            let over_at = [silent_at, stuck_at].into_iter().flatten().min();
            let over_at = over_at.unwrap_or_else(|| Instant::now() + STUCK_MAX);
            tokio::select! {
                read = from.read_buf(&mut self.incoming) => match read {
                    Ok(0) => return End::Bye,
                    Ok(_) => {
                        heard = Instant::now();
                        if let Err(end) = self.take_in() {
                            return end;
                        }
                    }
                    Err(error) => return End::Io(error),
                },
                written = to.write_buf(&mut self.outgoing), if writes => match written {
                    Ok(_) => wrote = Instant::now(),
                    Err(error) => return End::Io(error),
                },
                // One after another, and none past those that are kept.
                count = queue.recv_many(&mut outs, 64),
                    if self.outgoing.len() < OUT_BYTES && self.kept.is_empty() =>
                {
                    if count == 0 {
                        return End::Stop;
                    }
                    for out in outs.drain(..) {
                        self.put(out, meter);
                    }
                }
                _ = stop.wait_for(|stop| *stop) => return End::Stop,
                () = sleep_until(over_at.into()) => {
                    let now = Instant::now();
                    if stuck_at.is_some_and(|at| at <= now) {
                        return End::Stuck;
                    }
                    if silent_at.is_some_and(|at| at <= now) {
                        return End::Silent;
                    }
                }
            }
        }
    }

    fn put(&mut self, out: Out, meter: &Meter) {
        match out {
            Out::Event(event) => {
                meter.taken(&event);
                // Those kept go first: what came after them is newer.
                while let Some(kept) = self.kept.pop_front() {
                    codec::message(
                        &mut self.outgoing,
                        self.version,
                        true,
                        &kept.topic,
                        &kept.body,
                    );
                }
                codec::message(
                    &mut self.outgoing,
                    self.version,
                    false,
                    &event.topic,
                    &event.body,
                );
            }
            Out::Kept(events) => self.kept.extend(events),
        }
    }

    fn take_in(&mut self) -> Result<(), End> {
        while let Some((first, body)) = codec::frame(&mut self.incoming)? {
            // Answers are bounded by what is read at once, as long as the other end reads them.
            if self.outgoing.len() > 4 * OUT_BYTES + super::hub::WAITING_BYTES_MAX {
                return Err(End::Stuck);
            }
            let out = &mut self.outgoing;
            match codec::read(first, body, Some(self.version))? {
                Heard::Subscribe { pkid, filters } => {
                    let codes = self.hub.subscribe(self.number, filters).ok_or(End::Stuck)?;
                    codec::acked(out, self.version, codec::SUBACK, pkid, &codes);
                }
                Heard::Unsubscribe { pkid, filters } => {
                    let codes = self.hub.unsubscribe(self.number, &filters);
                    codec::acked(out, self.version, codec::UNSUBACK, pkid, &codes);
                }
                Heard::Ping => codec::pong(out),
                Heard::Bye => return Err(End::Bye),
                Heard::Publish => return Err(End::Publishes),
                Heard::Hello(_) => return Err(Malformed::Packet.into()),
            }
        }
        Ok(())
    }
}
