//! The serving end: whoever proves that it knows the token is joined to the broker; strangers cost little and are told
//! little.

use crate::error::LinkError;
use crate::hello;
use crate::inbound::Inbound;
use crate::keepers::Keepers;
use crate::limits::{COMPLAIN_EVERY, CONNECTIONS_MAX, HELLO_MAX, Pace};
use crate::session::Session;
use crate::stream::{Accepted, Listener, Stream};
use crate::token::JoinToken;
use parking_lot::Mutex;
use rustls::ServerConfig;
use sengu_interconnect::Broker;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Wait after the system could not accept, as when no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// An older connection of the same life ends within this, or the new one goes on without.
const SUPERSEDE_MAX: Duration = Duration::from_secs(3);

/// Serves `broker` to those who know the token, until `stop` resolves.
///
/// # Errors
/// When the listener is plain TCP that other machines can reach.
pub async fn serve(
    broker: Arc<dyn Broker>,
    listener: Listener,
    token: JoinToken,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_at(broker, listener, token, tls, Pace::USUAL, stop).await
}

/// As `serve`, at a pace of its own.
///
/// # Errors
/// As `serve`.
pub async fn serve_at(
    broker: Arc<dyn Broker>,
    listener: Listener,
    token: JoinToken,
    tls: Option<Arc<ServerConfig>>,
    pace: Pace,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.check(tls.is_some())?;
    let keepers = Arc::new(Keepers::new(broker.clone(), pace.retained_grace));
    let closing = watch::Sender::new(false);
    let shared = Arc::new(Shared {
        broker,
        keepers: keepers.clone(),
        token,
        tls,
        pace,
        live: Mutex::default(),
        strangers: Seldom::default(),
        accepts: Seldom::default(),
        closing: closing.clone(),
    });
    // Everything ends with this future, also when it is dropped.
    let mut connections = JoinSet::new();
    let mut janitor = JoinSet::new();
    janitor.spawn(async move { keepers.run().await });
    tokio::pin!(stop);
    let mut connection = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(_) if connections.len() >= CONNECTIONS_MAX => {
                if let Some(times) = shared.accepts.again() {
                    tracing::warn!(times, max = CONNECTIONS_MAX, "too many connections");
                }
            }
            Ok(accepted) => {
                connection += 1;
                connections.spawn(shared.clone().connection(connection, accepted));
            }
            Err(error) => {
                if let Some(times) = shared.accepts.again() {
                    tracing::warn!(%error, times, "accept");
                }
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(ACCEPT_RETRY) => {}
                }
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

struct Shared {
    broker: Arc<dyn Broker>,
    keepers: Arc<Keepers>,
    token: JoinToken,
    tls: Option<Arc<ServerConfig>>,
    pace: Pace,
    /// Joined connections by incarnation.
    live: Mutex<HashMap<u64, Live>>,
    strangers: Seldom,
    accepts: Seldom,
    closing: watch::Sender<bool>,
}

struct Live {
    name: String,
    connection: u64,
    /// Ends it; closed when it has ended.
    end: watch::Sender<bool>,
}

impl Shared {
    async fn connection(self: Arc<Self>, connection: u64, accepted: Accepted) {
        let from = accepted.from();
        let mut closing = self.closing.subscribe();
        let hello = tokio::select! {
            hello = timeout(HELLO_MAX, self.hello(accepted)) => hello,
            _ = closing.wait_for(|c| *c) => return,
        };
        let hello = hello.unwrap_or(Err(LinkError::HelloLate));
        let (inbound, stream, joining) = match hello {
            Ok(joined) => joined,
            Err(error) => {
                if let Some(times) = self.strangers.again() {
                    let error = error.text();
                    tracing::warn!(from, error, times, "not let in");
                }
                return;
            }
        };
        let (name, incarnation) = (joining.name.clone(), joining.incarnation);
        let ended = self.take_over(connection, &joining).await;
        tracing::info!(name, from, "joined");
        let session = Session::new(
            self.broker.clone(),
            self.keepers.clone(),
            self.pace,
            connection,
        );
        let error = session.run(inbound, stream, ended.clone(), closing).await;
        tracing::info!(name, from, why = error.text(), "gone");
        let mut live = self.live.lock();
        if live
            .get(&incarnation)
            .is_some_and(|l| l.connection == connection)
        {
            live.remove(&incarnation);
        }
        drop(live);
        drop(ended);
    }

    async fn hello(&self, accepted: Accepted) -> Result<Joined, LinkError> {
        let Stream {
            read,
            mut write,
            channel,
        } = accepted.open(self.tls.clone()).await?;
        let mut inbound = Inbound::new(read);
        let joining = hello::serve(&mut inbound, &mut write, &self.token, channel).await?;
        Ok((inbound, write, joining))
    }

    /// Makes this the one connection of its life. The older one, which the other end has given up, ends first: nothing
    /// that is still on its way there may come after what is said here.
    async fn take_over(&self, connection: u64, joining: &hello::Joining) -> watch::Receiver<bool> {
        let (end, ended) = watch::channel(false);
        let before = {
            let mut live = self.live.lock();
            let twin = |l: (&u64, &Live)| *l.0 != joining.incarnation && l.1.name == joining.name;
            if live.iter().any(twin) {
                let name = &joining.name;
                tracing::warn!(
                    name,
                    "another of the same name is joined: they share its queue"
                );
            }
            let name = joining.name.clone();
            let this = Live {
                name,
                connection,
                end,
            };
            live.insert(joining.incarnation, this)
        };
        if let Some(before) = before {
            before.end.send_replace(true);
            let _ = timeout(SUPERSEDE_MAX, before.end.closed()).await;
        }
        ended
    }
}

type Joined = (
    Inbound<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    hello::Joining,
);

/// Lets a line into the log now and then.
#[derive(Default)]
struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How often it happened since the last line, if it is time for another.
    fn again(&self) -> Option<u64> {
        let mut state = self.0.lock();
        state.1 += 1;
        if state.0.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return None;
        }
        state.0 = Some(Instant::now());
        Some(std::mem::take(&mut state.1))
    }
}
