//! A thin MQTT listener for an installation without a broker: `mosquitto_sub -t 'sengu/v1/#'` works against sengu itself.
//! For followers only: nobody can publish by it, nothing is stored, and nobody who is slow or hostile holds up anything.
//! Whoever connects says the API's token as the password, with any user.

mod client;
mod codec;
mod hub;

use crate::error::MqttError;
use futures::future::{BoxFuture, FutureExt};
use hub::Hub;
use sengu_interconnect::BrokerError;
use sengu_interconnect::events::{Followers, Told};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Followers at once: dashboards and collectors, not devices.
pub const FOLLOWERS_MAX: usize = 256;
/// Connections that have not said who they are yet.
pub const HELLOS_MAX: usize = 64;
/// Seconds within which a follower says something, where it may be told so.
const KEEP_ALIVE_MAX: u16 = 300;
/// Before accepting again when the system has no more file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a client's connection needs to know.
struct House {
    hub: Hub,
    tls: Option<tokio_rustls::TlsAcceptor>,
    token: String,
    seats: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

/// Serves followers until it is stopped or dropped.
pub struct MqttListener {
    house: Arc<House>,
}

impl MqttListener {
    /// Must be called within a tokio runtime. An empty token lets nobody in.
    ///
    /// # Errors
    /// When the socket cannot be used, or is off loopback without TLS.
    pub fn start(
        listener: std::net::TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        token: String,
        prefix: String,
    ) -> Result<Arc<MqttListener>, MqttError> {
        let at = listener.local_addr().map_err(MqttError::Listen)?;
        if tls.is_none() && !at.ip().is_loopback() {
            let address = at.to_string();
            return Err(MqttError::PlainListener { address });
        }
        listener.set_nonblocking(true).map_err(MqttError::Listen)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(MqttError::Listen)?;
        let house = Arc::new(House {
            hub: Hub::new(prefix),
            tls: tls.map(Into::into),
            token,
            seats: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            stop: watch::Sender::new(false),
        });
        tokio::spawn(accept(house.clone(), listener));
        Ok(Arc::new(MqttListener { house }))
    }

    /// Ends all connections, with a word to those who speak MQTT 5.
    pub fn stop(&self) {
        self.house.stop.send_replace(true);
    }
}

impl Drop for MqttListener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(house: Arc<House>, listener: tokio::net::TcpListener) {
    let hellos = Arc::new(Semaphore::new(HELLOS_MAX));
    let mut clients = JoinSet::new();
    let mut stop = house.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((tcp, _)) => {
                // One too many is closed at once.
                if let Ok(hello) = hellos.clone().try_acquire_owned() {
                    clients.spawn(client::serve(house.clone(), tcp, hello));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept a follower by MQTT");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    // Each says goodbye within its own limit.
    while clients.join_next().await.is_some() {}
}

impl Followers for MqttListener {
    fn tell(&self, batch: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.house.hub.tell(batch);
        std::future::ready(Ok(())).boxed()
    }

    fn lacks(&self) -> Vec<String> {
        vec![
            "events are told with QoS 0: a slow follower loses some, and one that is away gets the latest values at most"
                .to_owned(),
            "latest values are kept in memory: they are gone with the process until they are told again"
                .to_owned(),
        ]
    }
}
