//! What a guest can call, and nothing else is there for it to call. `wit/worker.wit` says what each call means.

use crate::budget::{Meter, Share};
use crate::http::Wires;
use crate::keep::Keep;
use crate::out::Out;
use crate::tcp::Connection;
use crate::{http, limits, tcp};
use sengu::worker::{clock, memory, random, report, types};
use sengu_model::TaskId;
use sengu_model::wire::worker::{Level, Reading, WorkerLine};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::format_err;

wasmtime::component::bindgen!({
    path: "wit",
    world: "worker",
    with: { "sengu:worker/tcp.connection": crate::tcp::Connection },
    imports: {
        "sengu:worker/report": async | trappable,
        "sengu:worker/clock.sleep-ms": async | trappable,
        "sengu:worker/http": async | trappable,
        "sengu:worker/tcp": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});

pub use sengu::worker::http as http_types;
pub use sengu::worker::tcp as tcp_types;

/// The host's side of one task.
pub struct Host {
    pub id: TaskId,
    pub out: Out,
    pub began: Instant,
    pub deadline: Instant,
    /// When the task was cancelled.
    pub cancel: watch::Receiver<Option<Instant>>,
    pub meter: Meter,
    pub share: Arc<Share>,
    /// Since when the guest computes; ahead of now while it is made to pause.
    pub computes_since: Instant,
    pub keep: Arc<Keep>,
    pub wires: Arc<Wires>,
    pub target: types::Target,
    /// Found out at the first request.
    pub wire: Option<Arc<http::Wire>>,
    pub table: ResourceTable,
    pub connections: u32,
    /// Something was sent to the target, so the task may have had its effect.
    pub sent: bool,
    pub last_words: Option<String>,
}

impl Host {
    /// By then a call of the guest must be over.
    pub fn until(&self, timeout_ms: u64, most: Duration) -> Instant {
        let own = match timeout_ms {
            0 => most,
            ms => Duration::from_millis(ms),
        };
        // An hour is beyond every task, and can be added to any moment.
        let own = own.min(Duration::from_secs(3_600));
        self.deadline.min(Instant::now() + own)
    }
}

impl Host {
    /// The guest computes no more, for a while.
    pub fn rests(&mut self) {
        let now = Instant::now();
        let computed = now.saturating_duration_since(self.computes_since);
        self.share.charge(computed, now);
    }

    fn computes(&mut self) {
        self.computes_since = Instant::now();
    }
}

impl types::Host for Host {}

impl report::Host for Host {
    async fn log(&mut self, level: report::Level, message: String) -> wasmtime::Result<()> {
        let line = WorkerLine::Log {
            id: self.id,
            level: match level {
                report::Level::Debug => Level::Debug,
                report::Level::Info => Level::Info,
                report::Level::Warn => Level::Warn,
                report::Level::Error => Level::Error,
                report::Level::Stdout => Level::Stdout,
                report::Level::Stderr => Level::Stderr,
            },
            message: cut(message),
        };
        self.say(&line).await
    }

    async fn progress(
        &mut self,
        percent: Option<f64>,
        message: Option<String>,
    ) -> wasmtime::Result<()> {
        let line = WorkerLine::Progress {
            id: self.id,
            percent: percent.filter(|percent| percent.is_finite()),
            message: message.map(cut),
            checkpoint: None,
        };
        self.say(&line).await
    }

    async fn checkpoint(&mut self, value: String) -> wasmtime::Result<()> {
        let checkpoint = serde_json::from_str(&value)
            .map_err(|e| format_err!("report.checkpoint was given what is no JSON: {e}"))?;
        let line = WorkerLine::Progress {
            id: self.id,
            percent: None,
            message: None,
            checkpoint: Some(checkpoint),
        };
        self.say(&line).await
    }

    async fn readings(&mut self, readings: Vec<report::Reading>) -> wasmtime::Result<()> {
        let readings = readings
            .into_iter()
            // JSON has no form for the others.
            .filter(|reading| reading.value.is_finite())
            .map(|reading| Reading {
                name: reading.name,
                value: reading.value,
                unit: reading.unit,
                labels: reading.labels.into_iter().collect(),
            })
            .collect();
        let line = WorkerLine::Reading {
            id: self.id,
            readings,
            facts: BTreeMap::new(),
        };
        self.say(&line).await
    }

    async fn facts(&mut self, facts: String) -> wasmtime::Result<()> {
        let facts: BTreeMap<String, Value> = serde_json::from_str(&facts)
            .map_err(|e| format_err!("report.facts was given what is no JSON object: {e}"))?;
        let line = WorkerLine::Reading {
            id: self.id,
            readings: Vec::new(),
            facts,
        };
        self.say(&line).await
    }

    async fn last_words(&mut self, message: String) -> wasmtime::Result<()> {
        self.last_words = Some(message.chars().take(400).collect());
        Ok(())
    }
}

impl Host {
    async fn say(&mut self, line: &WorkerLine) -> wasmtime::Result<()> {
        self.out.line(line).await.map_err(|e| format_err!("{e}"))
    }
}

impl clock::Host for Host {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)))
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        // Not from 0, so that a guest can look back from the moment it began.
        let ago = self.began.elapsed() + Duration::from_secs(3_600);
        Ok(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_ms(&mut self, ms: u64) -> wasmtime::Result<bool> {
        let wanted = Instant::now() + Duration::from_millis(ms.min(3_600_000));
        let mut cancel = self.cancel.clone();
        self.rests();
        let whole = tokio::select! {
            () = tokio::time::sleep_until(wanted.min(self.deadline)) => wanted <= self.deadline,
            Ok(_) = cancel.wait_for(Option::is_some) => false,
        };
        self.computes();
        Ok(whole)
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.cancel.borrow().is_some())
    }
}

impl random::Host for Host {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; count.min(limits::RANDOM_BYTES_MAX) as usize];
        getrandom::fill(&mut bytes).map_err(|e| format_err!("random bytes: {e}"))?;
        Ok(bytes)
    }
}

impl memory::Host for Host {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.keep.get(&self.target.name, &key))
    }

    fn put(&mut self, key: String, value: Vec<u8>, keep_ms: u64) -> wasmtime::Result<bool> {
        let keep = Duration::from_millis(keep_ms);
        Ok(self.keep.put(&self.target.name, &key, value, keep))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        self.keep.remove(&self.target.name, &key);
        Ok(())
    }
}

impl http_types::Host for Host {
    async fn send(
        &mut self,
        request: http_types::Request,
    ) -> wasmtime::Result<Result<http_types::Response, http_types::Trouble>> {
        self.rests();
        let answer = http::send(self, request).await;
        self.computes();
        Ok(answer)
    }
}

impl tcp_types::Host for Host {}

impl tcp_types::HostConnection for Host {
    async fn open(
        &mut self,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<wasmtime::component::Resource<Connection>, tcp_types::Failure>>
    {
        if self.connections >= limits::TCP_CONNECTIONS_MAX {
            return Ok(Err(tcp::too_many()));
        }
        let until = self.until(timeout_ms, limits::CONNECT_MAX);
        self.rests();
        let opened = Connection::open(&self.target.address, until).await;
        self.computes();
        match opened {
            Ok(connection) => {
                self.connections += 1;
                Ok(Ok(self.table.push(connection)?))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn read(
        &mut self,
        connection: wasmtime::component::Resource<Connection>,
        bytes_max: u32,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, tcp_types::Failure>> {
        let until = self.until(timeout_ms, limits::REQUEST_MAX);
        self.rests();
        let read = self
            .table
            .get_mut(&connection)?
            .read(bytes_max, until)
            .await;
        self.computes();
        Ok(read)
    }

    async fn write(
        &mut self,
        connection: wasmtime::component::Resource<Connection>,
        bytes: Vec<u8>,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<(), tcp_types::Failure>> {
        let until = self.until(timeout_ms, limits::REQUEST_MAX);
        self.sent = true;
        self.rests();
        let written = self.table.get_mut(&connection)?.write(&bytes, until).await;
        self.computes();
        Ok(written)
    }

    async fn drop(
        &mut self,
        connection: wasmtime::component::Resource<Connection>,
    ) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        self.connections -= 1;
        Ok(())
    }
}

/// A line as long as the host takes one.
fn cut(mut message: String) -> String {
    let most = sengu_model::limits::LOG_LINE_BYTES_MAX;
    if message.len() > most {
        let mut end = most;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    message
}
