//! Where the database is and how it is used. A password is in here and nowhere else: never in errors, logs or `Debug`.

use sengu_store::StoreError;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// A host that does not answer is given up after this.
pub const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A peer that acknowledges nothing that was sent to it is gone after this.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is tested after this, then each second, and is gone after three tests without an answer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;
/// Bytes of a name in PostgreSQL.
const NAME_BYTES_MAX: usize = 63;
/// One connection writes, and one reads.
pub const CONNECTIONS_MIN: u32 = 2;

/// What `PostgresStore::open` needs to know.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user@host:port/database?sslmode=..`, or several `host:port` with commas; may hold a password.
    pub url: String,
    /// Goes before the one in `url`.
    pub password: Option<String>,
    /// Certificates to trust instead of those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Name of the schema that holds the tables, made when it is not there: `sengu`.
    pub schema: String,
    /// Connections of this process; at least two.
    pub connections_max: u32,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("place", &self.place())
            .field("schema", &self.schema)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used, in words without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

impl From<Unusable> for StoreError {
    fn from(error: Unusable) -> StoreError {
        StoreError::Broken {
            what: error.0,
            source: None,
        }
    }
}

fn unusable<T>(why: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(why.into()))
}

impl Settings {
    /// Hosts, ports and database, for people.
    pub fn place(&self) -> String {
        let Ok(config) = self.parse() else {
            return "an address that is none".to_owned();
        };
        let hosts = labels(&config).join(",");
        format!("{hosts}/{}", config.get_dbname().unwrap_or_default())
    }

    /// Host and port of each server, for people.
    pub fn labels(&self) -> Vec<String> {
        self.parse().map(|c| labels(&c)).unwrap_or_default()
    }

    fn parse(&self) -> Result<tokio_postgres::Config, Unusable> {
        let text = &self.url;
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return unusable(
                "the address of the database is no postgres://user@host:port/database",
            );
        }
        // TLS always checks the certificate and the name, so these two ask for no more than `require`.
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let query = query
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require")
            // A word that the parser does not know for the same.
            .replace(
                "target_session_attrs=primary",
                "target_session_attrs=read-write",
            );
        // The parser's own error may repeat what it could not read.
        format!("{place}?{query}")
            .parse()
            .or_else(|_| unusable("the address of the database has a part that is not understood"))
    }

    /// Name of the schema as SQL wants it.
    pub fn schema_quoted(&self) -> Result<String, Unusable> {
        let name = &self.schema;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return unusable(format!(
                "{name:?} is no name for a schema: 1 to {NAME_BYTES_MAX} bytes without NUL"
            ));
        }
        if name.starts_with("pg_") || name == "information_schema" || name == "public" {
            return unusable(format!(
                "schema {name} is not for sengu alone: choose another"
            ));
        }
        Ok(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    /// What the client needs, with every wait bounded.
    pub fn config(&self) -> Result<tokio_postgres::Config, Unusable> {
        let mut config = self.parse()?;
        if let Some(password) = &self.password {
            config.password(password);
        }
        if config.get_user().is_none() {
            return unusable(
                "the address of the database names no user: postgres://user@host/database",
            );
        }
        if config.get_hosts().is_empty() {
            return unusable("the address of the database names no host");
        }
        // Of several only the one that takes writes is ever used, whatever else may be asked for.
        if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return unusable("sengu writes: target_session_attrs=read-write, or leave it out");
        }
        let given = self
            .url
            .split_once('?')
            .is_some_and(|(_, query)| query.contains("sslmode="));
        config.ssl_mode(ssl_mode(&config, given)?);
        config
            .application_name("sengu")
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(USER_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        Ok(config)
    }
}

/// Whether an address of a database holds a password, as far as it can be told.
pub fn holds_password(url: &str) -> bool {
    let settings = Settings {
        url: url.to_owned(),
        password: None,
        ca_pem: None,
        schema: String::new(),
        connections_max: CONNECTIONS_MIN,
    };
    match settings.parse() {
        Ok(config) => config.get_password().is_some(),
        // It cannot be used, and may hold one all the same.
        Err(_) => {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let user = rest.rsplit_once('@').map(|(user, _)| user);
            user.is_some_and(|user| user.contains(':')) || rest.contains("password=")
        }
    }
}

fn labels(config: &tokio_postgres::Config) -> Vec<String> {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    hosts.collect()
}

/// Plain connections go to this machine only.
fn ssl_mode(config: &tokio_postgres::Config, given: bool) -> Result<SslMode, Unusable> {
    // A hostaddr goes before its host.
    let addresses_here = config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    let here = addresses_here && config.get_hosts().iter().all(is_here);
    match config.get_ssl_mode() {
        SslMode::Require => Ok(SslMode::Require),
        SslMode::Disable if here => Ok(SslMode::Disable),
        SslMode::Disable => {
            unusable("a database on another machine is reached with TLS only: sslmode=require")
        }
        // Nothing was said, or `prefer`: what may be plain is plain, the rest must not be.
        _ if here && !given => Ok(SslMode::Disable),
        mode if here => Ok(mode),
        _ => Ok(SslMode::Require),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|a| a.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            url: url.into(),
            password: None,
            ca_pem: None,
            schema: "sengu".into(),
            connections_max: 4,
        }
    }

    #[test]
    fn plain_connections_stay_on_this_machine() {
        let cases = [
            ("postgres://a@127.0.0.1/x", Some(SslMode::Disable)),
            (
                "postgres://a@localhost/x?sslmode=prefer",
                Some(SslMode::Prefer),
            ),
            ("postgres://a@[::1]/x", Some(SslMode::Disable)),
            (
                "postgres://a@/x?host=/run/postgresql",
                Some(SslMode::Disable),
            ),
            (
                "postgres://a@localhost/x?sslmode=verify-full",
                Some(SslMode::Require),
            ),
            ("postgres://a@db.example/x", Some(SslMode::Require)),
            (
                "postgres://a@db.example/x?sslmode=prefer",
                Some(SslMode::Require),
            ),
            (
                "postgres://a@127.0.0.1,db.example/x",
                Some(SslMode::Require),
            ),
            (
                "postgres://a@127.0.0.1:1,[::1]:2/x?target_session_attrs=read-write",
                Some(SslMode::Disable),
            ),
            (
                "postgres://a@localhost/x?hostaddr=192.0.2.1",
                Some(SslMode::Require),
            ),
            ("postgres://a@db.example/x?sslmode=disable", None),
            ("postgres://a@127.0.0.1,db.example/x?sslmode=disable", None),
            ("postgres://a@localhost.example/x?sslmode=disable", None),
        ];
        for (url, wanted) in cases {
            let found = settings(url).config().ok().map(|c| c.get_ssl_mode());
            assert_eq!(found, wanted, "{url}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let mut all = settings("postgres://a:hunter2@127.0.0.1:99999/x?sslmode=what");
        all.password = Some("hunter2".into());
        let error = all.config().expect_err("no such port");
        assert!(!format!("{error}{error:?}{all:?}").contains("hunter2"));
        let odd = settings("postgres://a:hunter2@127.0.0.1:5432/x?bogus=hunter2");
        let error = odd.config().expect_err("no such key");
        assert!(!format!("{error}{error:?}{odd:?}").contains("hunter2"));
        let good = settings("postgres://a:hunter2@127.0.0.1/x");
        assert_eq!(good.place(), "127.0.0.1:5432/x");
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        let cases = [
            ("postgres://a@h/x", false),
            ("postgres://a:b@h/x", true),
            ("postgres://a:b@h1:1,h2:2/x", true),
            ("postgres://a@h1:1,h2:2/x", false),
            ("postgres://a@h/x?password=b", true),
            ("postgres://a:b@h:none/x", true),
            ("postgres://a@h:none/x", false),
            ("a:b@h", true),
        ];
        for (url, wanted) in cases {
            assert_eq!(holds_password(url), wanted, "{url}");
        }
    }

    #[test]
    fn several_hosts_are_taken_apart() {
        let several = settings("postgres://a@h1:1,h2,[::1]:3/x?target_session_attrs=primary");
        assert_eq!(several.labels(), ["h1:1", "h2:5432", "[::1]:3"]);
        assert_eq!(several.place(), "h1:1,h2:5432,[::1]:3/x");
        assert!(several.config().is_ok());
        for bad in ["read-only", "standby", "bogus"] {
            let url = format!("postgres://a@h1,h2/x?target_session_attrs={bad}");
            assert!(settings(&url).config().is_err(), "{bad}");
        }
    }

    #[test]
    fn odd_names_of_schemas_are_quoted_or_refused() {
        let named = |name: &str| Settings {
            schema: name.into(),
            ..settings("postgres://a@localhost/x")
        };
        let quoted = named("o\"dd; drop").schema_quoted();
        assert_eq!(quoted.as_deref(), Ok("\"o\"\"dd; drop\""));
        for bad in ["", "a\0b", "pg_toast", "public", &"x".repeat(64)] {
            assert!(named(bad).schema_quoted().is_err(), "{bad:?}");
        }
    }
}
