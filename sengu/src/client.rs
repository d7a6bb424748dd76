//! The one way from the command line to the server: REST over HTTP/1.1 with kept connections.
//!
//! Must never print, and never guess what the server did: an answer that did not come is an error, not a success.

mod events;

use events::EventReader;
pub use events::Events;
use reqwest::header::HeaderValue;

use base64::Engine as _;
use futures::StreamExt as _;
use sengu_model::Problem;
use sengu_model::problem::Code;
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// To open a connection. The server is near; a person waits.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For one answer, beyond what the request itself asks the server to wait.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Where the server is and who asks: flags, environment, data directory, in this order.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Connect {
    /// URL of the server (default: the `endpoint` file in the data directory)
    #[arg(
        long,
        global = true,
        env = "SENGU_SERVER",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Server"
    )]
    pub server: Option<String>,
    /// File with the bearer token (default: `token` in the data directory)
    #[arg(
        long,
        global = true,
        env = "SENGU_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Server"
    )]
    pub token_file: Option<PathBuf>,
    /// PEM file of the authority that signed the server's certificate
    #[arg(
        long,
        global = true,
        env = "SENGU_CA_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Server"
    )]
    pub ca_file: Option<PathBuf>,
    /// Who you are, for the audit (default: user@host)
    #[arg(
        long,
        global = true,
        env = "SENGU_NAME",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Server"
    )]
    pub name: Option<String>,
    /// Data directory of `sengu up` (default: $XDG_STATE_HOME/sengu or ~/.local/state/sengu)
    #[arg(
        long,
        global = true,
        env = "SENGU_DATA",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Server"
    )]
    pub data: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error(
        "no server known: {looked} does not exist. Start one with `sengu up`, or say --server URL"
    )]
    NoServer { looked: String },
    #[error("read {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("build the HTTP client")]
    Build(#[source] reqwest::Error),
    #[error("{url} cannot be reached: is `sengu up` running?")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} has taken nothing for {seconds}s")]
    Stalled { url: String, seconds: u64 },
    #[error("{url} gave no whole answer")]
    Broken {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answered {status} without a problem document: {start}")]
    Strange {
        url: String,
        status: u16,
        start: String,
    },
    #[error("{url} answered what this version does not understand")]
    Shape {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the same request may succeed a moment later (the server restarts).
    pub fn passing(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => true,
            ClientError::Problem(p) => p.status == 503 || p.status == 429,
            _ => false,
        }
    }

    pub fn problem(&self) -> Option<&Problem> {
        match self {
            ClientError::Problem(p) => Some(p),
            _ => None,
        }
    }
}

pub type Result<T> = std::result::Result<T, ClientError>;

/// One page of a list.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default)]
    pub cursor: Option<String>,
    #[serde(default)]
    pub revision: Option<u64>,
}

impl Connect {
    /// As whom the audit will know this caller; None where neither a flag nor the system says.
    fn name(&self) -> Option<HeaderValue> {
        let system = || {
            let user = ["USER", "LOGNAME"];
            let user = user.iter().find_map(|key| std::env::var(key).ok());
            // Neither is set where cron or systemd starts a program.
            let number = || format!("uid-{}", rustix::process::getuid().as_raw());
            let host = rustix::system::uname();
            let host = host.nodename().to_str().ok()?.to_owned();
            Some(format!("{}@{host}", user.unwrap_or_else(number)))
        };
        let given = self.name.clone().filter(|name| !name.is_empty());
        let name = given.or_else(system)?;
        HeaderValue::try_from(name).ok()
    }

    /// The data directory that flags, environment and defaults give.
    pub fn data_dir(&self) -> PathBuf {
        if let Some(data) = &self.data {
            return data.clone();
        }
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        if let Some(state) = variable("XDG_STATE_HOME") {
            return PathBuf::from(state).join("sengu");
        }
        let home = variable("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        home.join(".local/state/sengu")
    }

    /// URL of the server, and where that was read.
    pub fn endpoint(&self) -> Result<(String, String)> {
        if let Some(url) = &self.server {
            return Ok((
                url.trim().trim_end_matches('/').to_owned(),
                "--server".to_owned(),
            ));
        }
        let path = self.data_dir().join("endpoint");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let url = text.trim().trim_end_matches('/').to_owned();
                Ok((url, path.display().to_string()))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ClientError::NoServer {
                looked: path.display().to_string(),
            }),
            Err(source) => Err(file_error(&path, source)),
        }
    }

    pub fn token_path(&self) -> PathBuf {
        self.token_file
            .clone()
            .unwrap_or_else(|| self.data_dir().join("token"))
    }

    fn token(&self) -> Result<Option<String>> {
        let path = self.token_path();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            // A server elsewhere may have been named without a token: it will say what it wants.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.token_file.is_none() => {
                Ok(None)
            }
            Err(source) => Err(file_error(&path, source)),
        }
    }
}

fn file_error(path: &Path, source: std::io::Error) -> ClientError {
    ClientError::File {
        path: path.display().to_string(),
        source,
    }
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    connect: Connect,
    /// Servers that share a store; one of them is the active one.
    bases: Vec<String>,
    /// The one that answered last.
    at: Arc<AtomicUsize>,
    token: Option<String>,
    name: Option<HeaderValue>,
}

/// Query parameters of a request.
pub type Query<'a> = &'a [(&'a str, &'a str)];

impl Client {
    /// # Errors
    /// When no server is known, or its token or CA file cannot be read. Nothing is sent yet.
    pub fn find(connect: &Connect) -> Result<Client> {
        let (server, _) = connect.endpoint()?;
        let bases: Vec<String> = server
            .split(',')
            .map(|base| base.trim().trim_end_matches('/').to_owned())
            .filter(|base| !base.is_empty())
            .collect();
        // Only plain text to loopback is common; the provider is needed as soon as a client is built.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .tcp_nodelay(true)
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sengu/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &connect.ca_file {
            let pem = std::fs::read(path).map_err(|e| file_error(path, e))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(ClientError::Build)?;
            builder = builder.tls_certs_only(roots);
        } else if bases.iter().all(|base| base.starts_with("http://")) {
            // Without this the system's certificates would be read for nothing.
            builder = builder.tls_certs_only([]);
        }
        Ok(Client {
            http: builder.build().map_err(ClientError::Build)?,
            connect: connect.clone(),
            token: connect.token()?,
            name: connect.name(),
            bases,
            at: Arc::default(),
        })
    }

    /// The server that answered last.
    pub fn base(&self) -> &str {
        let at = self.at.load(Ordering::Relaxed) % self.bases.len().max(1);
        self.bases.get(at).map_or("", String::as_str)
    }

    /// Reads endpoint and token again: after a restart the server may listen elsewhere.
    pub fn refresh(&mut self) {
        if let Ok(fresh) = Client::find(&self.connect) {
            *self = fresh;
        }
    }

    fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        query: Query,
    ) -> reqwest::RequestBuilder {
        let mut url = format!("{}{path}", self.base());
        for (i, (key, value)) in query.iter().enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(key);
            url.push('=');
            url.push_str(&encode(value));
        }
        let request = self.http.request(method, url);
        let request = match &self.name {
            Some(name) => request.header("sengu-name", name),
            None => request,
        };
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it to the active one of the servers: one that stands by, or cannot be reached, has done nothing.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let mut request = request;
        for _ in 1..self.bases.len() {
            let Some(again) = request.try_clone() else {
                break;
            };
            let sent = self.send_once(request).await;
            let elsewhere = match &sent {
                Err(ClientError::Unreachable { .. }) => true,
                Err(ClientError::Problem(p)) => p.code == Code::Standby,
                _ => false,
            };
            if !elsewhere {
                return sent;
            }
            request = self.turn_to_next(again)?;
        }
        self.send_once(request).await
    }

    /// The same request for the next server.
    fn turn_to_next(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(ClientError::Build)?;
        self.at.fetch_add(1, Ordering::Relaxed);
        let url = format!(
            "{}{}",
            self.base(),
            &request.url()[url::Position::BeforePath..]
        );
        if let Ok(url) = url.parse() {
            *request.url_mut() = url;
        }
        Ok(reqwest::RequestBuilder::from_parts(client, request))
    }

    async fn send_once(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let answer = request.send().await.map_err(|source| {
            let url = self.base().to_owned();
            let source = source.without_url();
            if source.is_connect() || source.is_builder() {
                ClientError::Unreachable { url, source }
            } else {
                ClientError::Broken { url, source }
            }
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = self.body(answer).await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Strange {
                url: self.base().to_owned(),
                status,
                start: String::from_utf8_lossy(&body).chars().take(200).collect(),
            }),
        }
    }

    async fn body(&self, answer: reqwest::Response) -> Result<Vec<u8>> {
        let broken = |source: reqwest::Error| ClientError::Broken {
            url: self.base().to_owned(),
            source: source.without_url(),
        };
        Ok(answer.bytes().await.map_err(broken)?.to_vec())
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T> {
        let answer = self.send(request.timeout(ANSWER_MAX)).await?;
        let body = self.body(answer).await?;
        // An empty body (204) reads as null.
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|source| ClientError::Shape {
            url: self.base().to_owned(),
            source,
        })
    }

    /// Whether `path` answers with success, whatever it says (`/readyz`).
    pub async fn ok(&self, path: &str) -> bool {
        let request = self.request(reqwest::Method::GET, path, &[]);
        self.send(request.timeout(CONNECT_MAX)).await.is_ok()
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: Query<'_>) -> Result<T> {
        self.answer(self.request(reqwest::Method::GET, path, query))
            .await
    }

    /// Sends a creation with a fresh Idempotency-Key; when the answer is lost it is asked for once more under the
    /// same key, so nothing is made twice.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T> {
        let key = idempotency_key();
        let attempt = || {
            let request = self.request(reqwest::Method::POST, path, query);
            self.answer(request.header("idempotency-key", &key).json(body))
        };
        match attempt().await {
            Err(ClientError::Broken { .. }) => attempt().await,
            other => other,
        }
    }

    /// Sends a body that is made while it is sent: at most as fast as it is taken, and for as long as it gets on.
    /// It is not repeated when the answer is lost.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        parts: impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
    ) -> Result<T> {
        let taken = Arc::new(AtomicU64::new(0));
        let count = taken.clone();
        let counted = parts.inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let request = self
            .request(reqwest::Method::POST, path, query)
            .header("content-type", "application/x-tar")
            .body(reqwest::Body::wrap_stream(counted));
        let answered = async {
            let answer = self.send(request).await?;
            self.body(answer).await
        };
        let mut answered = std::pin::pin!(answered);
        let body = loop {
            let before = taken.load(Ordering::Relaxed);
            match tokio::time::timeout(ANSWER_MAX, &mut answered).await {
                Ok(body) => break body?,
                Err(_) if taken.load(Ordering::Relaxed) > before => {}
                Err(_) => {
                    return Err(ClientError::Stalled {
                        url: self.base().to_owned(),
                        seconds: ANSWER_MAX.as_secs(),
                    });
                }
            }
        };
        serde_json::from_slice(&body).map_err(|source| ClientError::Shape {
            url: self.base().to_owned(),
            source,
        })
    }

    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T> {
        self.answer(self.request(reqwest::Method::PUT, path, &[]).json(body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Result<()> {
        let request = self
            .request(reqwest::Method::DELETE, path, &[])
            .timeout(ANSWER_MAX);
        self.send(request).await.map(|_| ())
    }

    /// All items of a list up to `limit`, page by page.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        limit: usize,
    ) -> Result<Page<T>> {
        let mut pages = Pages::new(self, path, query, limit);
        let mut all = Page {
            items: Vec::new(),
            cursor: None,
            revision: None,
        };
        while let Some(page) = pages.next().await? {
            // A watch must start where the first page was read, or it misses what changed meanwhile.
            all.revision = all.revision.or(page.revision);
            all.cursor = page.cursor;
            all.items.extend(page.items);
        }
        Ok(all)
    }

    /// Opens a stream of server-sent events.
    pub async fn events(&self, path: &str, query: Query<'_>) -> Result<Events> {
        let request = self
            .request(reqwest::Method::GET, path, query)
            .header("accept", "text/event-stream");
        let answer = self.send(request).await?;
        Ok(Events {
            url: self.base().to_owned(),
            chunks: Box::pin(answer.bytes_stream()),
            reader: EventReader::default(),
        })
    }
}

/// Walks a list page by page.
pub struct Pages<'a> {
    client: &'a Client,
    path: &'a str,
    query: Query<'a>,
    left: usize,
    cursor: Option<String>,
    over: bool,
}

impl<'a> Pages<'a> {
    pub fn new(client: &'a Client, path: &'a str, query: Query<'a>, limit: usize) -> Self {
        Pages {
            client,
            path,
            query,
            left: limit,
            cursor: None,
            over: false,
        }
    }

    /// The next page; none when the list or the limit is reached. After the last page `cursor` tells whether
    /// there is more.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Page<T>>> {
        if self.over {
            return Ok(None);
        }
        let size = self.left.min(sengu_model::limits::PAGE_MAX).to_string();
        let mut query: Vec<(&str, &str)> = self.query.to_vec();
        query.push(("limit", &size));
        if let Some(cursor) = &self.cursor {
            query.push(("cursor", cursor));
        }
        let mut page: Page<T> = self.client.get(self.path, &query).await?;
        page.items.truncate(self.left);
        self.left -= page.items.len();
        self.over = page.cursor.is_none() || self.left == 0 || page.items.is_empty();
        self.cursor.clone_from(&page.cursor);
        Ok(Some(page))
    }
}

/// A path segment or query value, percent-encoded.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn idempotency_key() -> String {
    let mut random = [0_u8; 18];
    if getrandom::fill(&mut random).is_err() {
        // Without a random source the clock and the process still tell two requests apart.
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        return format!("{nanos}-{}", std::process::id());
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}

#[cfg(test)]
mod tests;
