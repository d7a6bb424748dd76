//! Which of several servers is the one that takes writes. One that only reads is never kept, and neither is one that
//! was primary before another was promoted: it may be back with what it had then.
//!
//! The server in use is asked alone first, so that nothing moves while it answers. When it does not, all are asked at
//! once: one that is silent is waited for only while no other takes writes.

use crate::error::Trouble;
use crate::session::{Place, Role, Session};
use crate::settings::{CONNECT_MAX, Settings, Unusable};
use futures::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::{Config, Host};

/// Sign-in and set-up after the connection is there.
const SIGN_IN_MAX: Duration = Duration::from_secs(4);
/// How long the server in use is asked alone: many times what a server in the same region needs.
const ALONE_MAX: Duration = Duration::from_millis(500);
/// How long others may still say that they were promoted later than the first that takes writes.
const OTHERS_MAX: Duration = Duration::from_millis(500);
/// The same of a process that knows of no promotion yet: one that was promoted and is slow to say so would be missed, and
/// the former primary written to. Only a server that is silent is waited for that long.
const OTHERS_FIRST_MAX: Duration = CONNECT_MAX;
/// In hexadecimal, at the start of the name of a WAL file.
const TIMELINE_DIGITS: usize = 8;

const WRITES: &str = "SELECT pg_catalog.pg_is_in_recovery();";
const LINEAGE: &str = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), system_identifier::text \
     FROM pg_catalog.pg_control_system()";

/// One of the servers that the address names.
pub struct Server {
    /// Host and port, for people.
    pub label: String,
    config: Config,
}

/// Where a server stands in the line of promotions: each begins a timeline with a higher number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The same for a primary and all that were copied from it.
    system: String,
    timeline: u32,
}

impl Lineage {
    fn is_before(&self, other: &Lineage) -> bool {
        self.system == other.system && self.timeline < other.timeline
    }
}

/// The server in use, and the latest promotion that was seen.
#[derive(Default)]
pub struct InUse {
    server: Option<usize>,
    newest: Option<Lineage>,
}

impl Server {
    /// All that the settings name, in their order.
    pub fn all(settings: &Settings) -> Result<Vec<Server>, Unusable> {
        let config = settings.config()?;
        let labels = settings.labels();
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        if !addresses.is_empty() && addresses.len() != hosts.len() {
            return Err(Unusable(
                "the address of the database has a hostaddr for some hosts only".to_owned(),
            ));
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(Unusable(
                "the address of the database has a port for some hosts only".to_owned(),
            ));
        }
        let each = hosts.iter().zip(labels).enumerate();
        let server = each.map(|(number, (host, label))| {
            let mut one = without_hosts(&config);
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            if let Some(address) = addresses.get(number) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(number).or(ports.first()) {
                one.port(*port);
            }
            Server { label, config: one }
        });
        Ok(server.collect())
    }
}

/// The client can add hosts to what it needs, and take none away.
fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        one.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding());
    one
}

/// A server that was asked.
pub struct Asked {
    pub session: Session,
    pub reads_only: bool,
}

impl Place {
    pub async fn connect(&self, role: Role) -> Result<Session, Trouble> {
        if self.servers.len() == 1 {
            return self.writer_at(0, role).await.1;
        }
        let (used, known) = {
            let in_use = self.in_use.lock();
            (in_use.server, in_use.newest.is_some())
        };
        let mut asked = FuturesUnordered::new();
        let mut troubles = Vec::new();
        if let Some(used) = used {
            asked.push(self.writer_at(used, role));
            match tokio::time::timeout(ALONE_MAX, asked.next()).await {
                Ok(Some((server, Ok(session)))) => return Ok(self.uses(server, session)),
                Ok(Some((server, Err(trouble)))) => troubles.push((server, trouble)),
                Ok(None) | Err(_) => {}
            }
        }
        let others = (0..self.servers.len()).filter(|server| Some(*server) != used);
        asked.extend(others.map(|server| self.writer_at(server, role)));
        let mut best = loop {
            match asked.next().await {
                Some((server, Ok(session))) => break (server, session),
                Some((server, Err(trouble))) => troubles.push((server, trouble)),
                None => return Err(self.none(troubles)),
            }
        };
        let newer = async {
            while let Some((server, answer)) = asked.next().await {
                let Ok(session) = answer else { continue };
                let two = [&self.servers[best.0].label, &self.servers[server].label];
                tracing::warn!(servers = ?two, "two servers take writes; the one that was promoted last is used");
                if let (Some(one), Some(other)) = (&best.1.lineage, &session.lineage)
                    && one.is_before(other)
                {
                    best = (server, session);
                }
            }
        };
        // Those that are silent need not answer.
        let limit = match known {
            true => OTHERS_MAX,
            false => OTHERS_FIRST_MAX,
        };
        let _ = tokio::time::timeout(limit, newer).await;
        Ok(self.uses(best.0, best.1))
    }

    /// Whether no other server was promoted since the connection was made.
    pub fn is_current(&self, session: &Session) -> bool {
        let in_use = self.in_use.lock();
        match (&session.lineage, &in_use.newest) {
            (Some(lineage), Some(newest)) => !lineage.is_before(newest),
            _ => true,
        }
    }

    fn uses(&self, server: usize, session: Session) -> Session {
        let mut in_use = self.in_use.lock();
        let before = in_use.server.replace(server);
        let newer = match (&session.lineage, &in_use.newest) {
            (Some(lineage), Some(newest)) => !lineage.is_before(newest),
            (lineage, _) => lineage.is_some(),
        };
        if newer {
            in_use.newest.clone_from(&session.lineage);
        }
        if let Some(before) = before.filter(|before| *before != server) {
            let (before, now) = (&self.servers[before].label, &self.servers[server].label);
            tracing::warn!(before, now, "another server of the database takes writes");
        }
        session
    }

    /// None of several takes writes.
    fn none(&self, mut troubles: Vec<(usize, Trouble)>) -> Trouble {
        troubles.sort_by_key(|(server, _)| *server);
        let said = troubles.into_iter().map(|(server, trouble)| {
            let label = self.servers[server].label.clone();
            (label, trouble)
        });
        Trouble::NoneWrites(said.collect())
    }

    /// A connection to this server, if it takes writes and no other was promoted after it.
    async fn writer_at(&self, server: usize, role: Role) -> (usize, Result<Session, Trouble>) {
        let session = match self.ask(server, role).await {
            Ok(asked) if asked.reads_only => Err(Trouble::ReadsOnly),
            Ok(asked) if !self.is_current(&asked.session) => Err(Trouble::Overtaken),
            Ok(asked) => Ok(asked.session),
            Err(trouble) => Err(trouble),
        };
        (server, session)
    }

    /// A connection to this server, whatever it is.
    pub async fn ask(&self, server: usize, role: Role) -> Result<Asked, Trouble> {
        let limit = CONNECT_MAX + SIGN_IN_MAX;
        let connect = async {
            let config = &self.servers[server].config;
            let (client, connection) = config.connect(self.tls.clone()).await?;
            // Ends when the client is dropped or the server goes; the client's calls then say so.
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            });
            let setup = format!("{} {WRITES}", self.setup(role));
            let said = cells(&client.simple_query(&setup).await?);
            let reads_only = said.first().is_some_and(|cell| cell == "t");
            let lineage = match reads_only || self.servers.len() == 1 {
                true => None,
                false => lineage(&client).await?,
            };
            let session = Session::new(client, lineage);
            Ok(Asked {
                session,
                reads_only,
            })
        };
        let outcome = tokio::time::timeout(limit, connect).await;
        outcome.unwrap_or(Err(Trouble::Silent { limit }))
    }
}

/// None where the server does not tell it: some that are run by others do not.
async fn lineage(client: &tokio_postgres::Client) -> Result<Option<Lineage>, Trouble> {
    let said = match client.simple_query(LINEAGE).await {
        Ok(said) => cells(&said),
        Err(error) if error.as_db_error().is_some() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let [file, system] = said.as_slice() else {
        return Ok(None);
    };
    let timeline = file.get(..TIMELINE_DIGITS);
    let timeline = timeline.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    Ok(timeline.map(|timeline| Lineage {
        system: system.clone(),
        timeline,
    }))
}

fn cells(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let cells = rows.flat_map(|row| (0..row.len()).map(|n| row.get(n).unwrap_or_default()));
    cells.map(str::to_owned).collect()
}

/// The server in use, shared by all connections of a process.
pub type Shared = Mutex<InUse>;
