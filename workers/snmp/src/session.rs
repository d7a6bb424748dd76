//! What an instance keeps of each target: the SNMP clients, the engine, what was learnt of the device.
//!
//! Every target has clients and an engine cache of its own: devices with one and the same engine id exist, and the time
//! of one must never be taken for that of the other. All share one socket per address family.

use crate::access::{Access, Keys};
use crate::trouble::Trouble;
use async_snmp::{ClientBuilder, EngineCache, Oid, Retry, UdpClient, UdpTransport};
use parking_lot::Mutex;
use sengu_sdk::{Context, Failure, FailureCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What was learnt of a device (its kind, its rows, that it is itself) is asked again after this long.
const LEARNT_FOR: Duration = Duration::from_secs(600);
/// The engine of a target; its session is renewed long before.
const ENGINE_KEPT_FOR: Duration = Duration::from_secs(86_400);
/// Targets kept; beyond that the one unused for longest goes.
const SESSIONS_MAX: usize = 20_000;
/// Answers of thousands of devices may arrive at once; the system caps this.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// snmpEngineID.0
const ENGINE_ID: [u32; 11] = [1, 3, 6, 1, 6, 3, 10, 2, 1, 1, 0];
/// sysObjectID.0
const SYS_OBJECT_ID: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 2, 0];

#[derive(Default)]
pub struct Sessions {
    v4: Mutex<Option<UdpTransport>>,
    v6: Mutex<Option<UdpTransport>>,
    keys: Keys,
    open: Mutex<HashMap<String, Arc<Session>>>,
}

pub struct Session {
    access: Access,
    pub address: SocketAddr,
    /// Sends a read again when no answer comes.
    pub reads: UdpClient,
    /// Sends once: whether a SET is repeated is decided by what is read back.
    pub writes: UdpClient,
    /// With v3 only.
    engines: Option<Arc<EngineCache>>,
    max_repetitions: AtomicU32,
    learnt: Mutex<Learnt>,
}

/// Indexes of a table's rows.
pub type Indexes = Vec<Vec<u32>>;

#[derive(Default)]
struct Learnt {
    used: Option<Instant>,
    generation: u64,
    identity: Option<Instant>,
    sys_object_id: Option<(Instant, Option<Oid>)>,
    /// First column of a table to the indexes of its rows.
    rows: HashMap<Oid, (Instant, Arc<Indexes>)>,
}

impl Sessions {
    /// The session of the task's target, new if there is none or its Record or Secret has changed.
    ///
    /// # Errors
    /// `refused` for what the Record or Secret lacks, silent when the name does not resolve.
    pub async fn of(&self, task: &Context) -> Result<Arc<Session>, Trouble> {
        let found = self.open.lock().get(&task.target.name).cloned();
        if let Some(session) = found.filter(|s| s.access.is_of(task)) {
            session.learnt.lock().used = Some(Instant::now());
            return Ok(session);
        }
        let session = Arc::new(self.make(task).await?);
        let mut open = self.open.lock();
        if open.len() >= SESSIONS_MAX {
            let oldest = open.iter().min_by_key(|(_, s)| s.learnt.lock().used);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                open.remove(&name);
            }
        }
        open.insert(task.target.name.clone(), session.clone());
        Ok(session)
    }

    /// Forgets a target, so that the next task begins with discovery.
    pub fn forget(&self, target: &str) {
        self.open.lock().remove(target);
    }

    /// Forgets everything, sockets included.
    pub fn forget_all(&self) {
        self.open.lock().clear();
        self.v4.lock().take();
        self.v6.lock().take();
    }

    async fn make(&self, task: &Context) -> Result<Session, Trouble> {
        let access = Access::of(task)?;
        let address = resolve(&task.target.address).await?;
        let (slot, any) = match address {
            SocketAddr::V4(_) => (&self.v4, "0.0.0.0:0"),
            SocketAddr::V6(_) => (&self.v6, "[::]:0"),
        };
        let open = slot.lock().clone();
        let transport = match open {
            Some(transport) => transport,
            None => {
                let bound = bind(any).await?;
                // Another task may have been quicker: its socket is the one to share.
                slot.lock().get_or_insert(bound).clone()
            }
        };
        let handle = transport
            .handle(address)?
            .strict_source(!access.config.any_source);
        let auth = access.auth(&self.keys)?;
        // Both clients' view of one device; replaced as a whole with the session.
        let engines = access
            .is_v3()
            .then(|| Arc::new(EngineCache::new().with_ttl(ENGINE_KEPT_FOR)));
        let config = &access.config;
        let mut builder = ClientBuilder::new(auth)
            .request_timeout(Duration::from_millis(config.request_timeout_ms))
            .max_oids_per_request(config.max_oids)
            // Reports of wrong credentials come unauthenticated and are heard only with this. What it adds otherwise:
            // the time of such a report may be tried in one packet; it is never trusted.
            .allow_unauthenticated_v3_time_correction(true);
        if let Some(engines) = &engines {
            builder = builder.engine_cache(engines.clone());
        }
        let retry = Retry::fixed(config.retries, Duration::ZERO)
            .map_err(|e| Trouble::refused(e.to_string()))?;
        let reads = builder
            .clone()
            .retry(retry)
            .build_with_transport(handle.clone())?;
        let writes = builder.retry(Retry::none()).build_with_transport(handle)?;
        let max_repetitions = AtomicU32::new(config.max_repetitions);
        Ok(Session {
            access,
            address,
            reads,
            writes,
            engines,
            max_repetitions,
            learnt: Mutex::new(Learnt {
                used: Some(Instant::now()),
                ..Learnt::default()
            }),
        })
    }
}

impl Session {
    /// Makes sure that this is the device that the Record names, before anything is done with it.
    ///
    /// With v3 this is discovery, and the keys are first used after it; with v2c the device is asked for snmpEngineID,
    /// and only when the Record pins one.
    ///
    /// # Errors
    /// `identity_mismatch`, or what kept the question from being answered.
    pub async fn meet(&self, task: &Context) -> Result<(), Trouble> {
        if fresh(self.learnt.lock().identity) {
            return Ok(());
        }
        let pinned = task.target.identity.get("engineId");
        let seen = if let Some(engines) = &self.engines {
            self.reads.rediscover_engine().await?;
            let state = engines.get(&self.address);
            state.map(|s| s.engine_id().to_vec())
        } else if pinned.is_some() {
            let values = self.get(&[Oid::from_slice(&ENGINE_ID)]).await?;
            match values.first() {
                Some(Some(async_snmp::Value::OctetString(bytes))) => Some(bytes.to_vec()),
                _ => None,
            }
        } else {
            None
        };
        if let Some(pinned) = pinned {
            check_engine(pinned, seen.as_deref())?;
        }
        self.learnt.lock().identity = Some(Instant::now());
        Ok(())
    }

    /// The device's sysObjectID, asked for at most every ten minutes.
    ///
    /// # Errors
    /// When the device does not answer.
    pub async fn sys_object_id(&self) -> Result<Option<Oid>, Trouble> {
        if let Some((at, id)) = &self.learnt.lock().sys_object_id
            && fresh(Some(*at))
        {
            return Ok(id.clone());
        }
        let values = self.get(&[Oid::from_slice(&SYS_OBJECT_ID)]).await?;
        let id = match values.into_iter().next().flatten() {
            Some(async_snmp::Value::ObjectIdentifier(id)) => Some(id),
            _ => None,
        };
        self.learnt.lock().sys_object_id = Some((Instant::now(), id.clone()));
        Ok(id)
    }

    /// The rows of a table that were there last time.
    pub fn rows(&self, first_column: &Oid) -> Option<Arc<Indexes>> {
        let learnt = self.learnt.lock();
        let (at, rows) = learnt.rows.get(first_column)?;
        fresh(Some(*at)).then(|| rows.clone())
    }

    pub fn learn_rows(&self, first_column: &Oid, rows: Indexes) {
        let mut learnt = self.learnt.lock();
        let entry = (Instant::now(), Arc::new(rows));
        learnt.rows.insert(first_column.clone(), entry);
    }

    pub fn forget_rows(&self, first_column: &Oid) {
        self.learnt.lock().rows.remove(first_column);
    }

    /// The profile that the Record forces.
    pub fn profile(&self) -> Option<&str> {
        self.access.config.profile.as_deref()
    }

    /// True once for each reading of the profile folder.
    pub fn first_of_generation(&self, generation: u64) -> bool {
        let mut learnt = self.learnt.lock();
        let first = learnt.generation != generation;
        learnt.generation = generation;
        first
    }

    /// Rows to ask for at once.
    pub fn repetitions(&self) -> u32 {
        self.max_repetitions.load(Ordering::Relaxed)
    }

    /// Remembers that the device chokes on larger bulk requests.
    pub fn lower_repetitions(&self, to: u32) {
        self.max_repetitions.fetch_min(to.max(1), Ordering::Relaxed);
    }
}

fn check_engine(pinned: &str, seen: Option<&[u8]>) -> Result<(), Failure> {
    let wanted = unhex(pinned).ok_or_else(|| {
        Failure::new(
            FailureCode::Refused,
            "identity.engineId is hexadecimal, like 80001f8880...",
        )
    })?;
    let mismatch = |message| Failure::new(FailureCode::IdentityMismatch, message);
    match seen {
        Some(seen) if seen == wanted => Ok(()),
        Some(seen) => Err(mismatch(format!(
            "engine id is {}, the Record says {}",
            hex(seen),
            hex(&wanted)
        ))),
        None => Err(mismatch(
            "the device does not tell its engine id".to_owned(),
        )),
    }
}

fn fresh(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < LEARNT_FOR)
}

async fn bind(address: &str) -> Result<UdpTransport, Trouble> {
    let transport = UdpTransport::builder()
        .bind(address)
        .recv_buffer_size(RECEIVE_BUFFER_BYTES)
        .warn_on_source_mismatch(false)
        .build()
        .await?;
    Ok(transport)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; port 161 unless said.
async fn resolve(address: &str) -> Result<SocketAddr, Trouble> {
    if let Ok(found) = address.parse() {
        return Ok(found);
    }
    let with_port = |text: &str| match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() && !text.ends_with(']') => text.to_owned(),
        _ => format!("{text}:161"),
    };
    let name = with_port(address);
    let found = tokio::net::lookup_host(name.as_str()).await;
    found
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| Trouble::Silent(format!("{name:?} does not resolve to an address")))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads hex with or without `0x` and separators.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_start_matches("0x");
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' ' | '-'))
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_ids_are_compared_as_bytes() {
        let seen = [0x80, 0x00, 0x1f, 0x88, 0x80];
        let table = [
            ("80001f8880", None),
            ("0x80001F8880", None),
            ("80:00:1f:88:80", None),
            ("80001f8881", Some(FailureCode::IdentityMismatch)),
            ("80001f888", Some(FailureCode::Refused)),
            ("engine", Some(FailureCode::Refused)),
            ("", Some(FailureCode::Refused)),
        ];
        for (pinned, expected) in table {
            let code = check_engine(pinned, Some(&seen)).err().map(|f| f.code);
            assert_eq!(code, expected, "{pinned:?}");
        }
        let silent = check_engine("80001f8880", None).unwrap_err();
        assert_eq!(silent.code, FailureCode::IdentityMismatch);
    }

    #[tokio::test]
    async fn addresses_have_port_161_unless_said() {
        let table = [
            ("127.0.0.1", "127.0.0.1:161"),
            ("127.0.0.1:1161", "127.0.0.1:1161"),
            ("[::1]", "[::1]:161"),
            ("[::1]:1161", "[::1]:1161"),
        ];
        for (text, expected) in table {
            let found = resolve(text).await.unwrap();
            assert_eq!(found.to_string(), expected, "{text}");
        }
        assert!(resolve("no.such.name.invalid").await.is_err());
    }
}
