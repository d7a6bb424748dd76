//! From nothing to a logged-in connection: TCP, greeting, key exchange, host key, login.
//!
//! Until it returns nothing was executed on the host, so its failures are `unreachable` unless more is known. It must
//! never offer a credential to a host that is not the pinned one, nor offer the same credential twice.

use crate::host::{Host, Policy};
use crate::host_key::{self, Kind};
use crate::wire::{Head, Switch, Wire};
use russh::client::{self, AuthResult, DisconnectReason, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{MethodKind, Preferred, kex};
use sengu_sdk::{Failure, FailureCode, Secret};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A host that answers nothing for three of these is gone. Long, because a loaded host answers late.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Parsed private keys kept: decrypting one costs tens of milliseconds, and a fleet shares few.
const KEYS_KEPT_MAX: usize = 64;
/// Host keys of first use remembered; an instance does not live long enough to see more hosts.
const TRUSTED_MAX: usize = 100_000;
/// Prompts of keyboard-interactive that are answered with the password.
const PROMPT_ROUNDS_MAX: u32 = 3;

/// Cheapest first: the key exchange is most of a short task's cost.
const KEX: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::MLKEM768X25519_SHA256,
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_GEX_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// A logged-in connection. Dropping it ends the stream.
pub struct Connection {
    pub handle: client::Handle<Client>,
    pub host_key: String,
    _switch: Switch,
}

/// What the connection's own task saw.
#[derive(Default)]
struct Seen {
    key: Option<PublicKey>,
    key_refused: bool,
    /// The words of a DISCONNECT message.
    farewell: Option<String>,
}

pub struct Client {
    host: Host,
    /// Key of the first use, when the policy trusts it.
    known: Option<String>,
    seen: Arc<Mutex<Seen>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let key = shown.public_key();
        let pins = &self.host.pins;
        let good = if !pins.is_empty() {
            let vouched = shown.certificate().is_some_and(|certificate| {
                let names = [self.host.address.as_str(), self.host.name.as_str()];
                host_key::vouched_for(pins, certificate, &names, now_s())
            });
            vouched || host_key::matches(pins, &key)
        } else if self.host.policy == Policy::TrustOnFirstUse {
            let print = host_key::fingerprint(&key);
            self.known.as_ref().is_none_or(|known| *known == print)
        } else {
            false
        };
        if let Ok(mut seen) = self.seen.lock() {
            seen.key = Some(key);
            seen.key_refused = !good;
        }
        Ok(good)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        if let (DisconnectReason::ReceivedDisconnect(info), Ok(mut seen)) =
            (reason, self.seen.lock())
        {
            seen.farewell = Some(info.message.chars().take(200).collect());
        }
        Ok(())
    }
}

/// Opens connections; keeps parsed keys and the host keys of first use.
#[derive(Default)]
pub struct Dialer {
    keys: Mutex<HashMap<[u8; 32], Arc<PrivateKey>>>,
    trusted: Mutex<HashMap<(String, String), String>>,
}

impl Dialer {
    /// Connects and logs in, before `until` and within the host's connect timeout.
    ///
    /// # Errors
    /// `unreachable`, `identity_mismatch`, `auth_failed`, `refused`, `bad_reply`; nothing was executed.
    pub async fn dial(&self, host: &Host, until: Instant) -> Result<Connection, Failure> {
        // A key that cannot be used is found before the host is troubled.
        let key = self.private_key(host)?;
        let head = Head::default();
        let until = until.min(Instant::now() + host.connect_timeout);
        match tokio::time::timeout_at(until, self.dial_kinds(host, key, &head)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(no_ssh(&host.at(), &head).unwrap_or_else(|| {
                let stage = if head.bytes().is_empty() {
                    "no greeting"
                } else {
                    "greeted, but no login"
                };
                unreachable(format!("{}: {stage} in time; nothing was sent", host.at()))
            })),
        }
    }

    /// A fingerprint does not tell which kind of key it is of, so a host with several keys is asked for each in turn.
    async fn dial_kinds(
        &self,
        host: &Host,
        key: Option<Arc<PrivateKey>>,
        head: &Head,
    ) -> Result<Connection, Failure> {
        let mut kinds = host_key::kinds_of(&host.pins);
        let mut mismatch = None;
        loop {
            let seen = Arc::new(Mutex::new(Seen::default()));
            match self.handshake(host, &kinds, &seen, head).await {
                Ok(connection) => return self.log_in(host, key, connection, &seen).await,
                Err(Handshake::Failed(failure)) => return Err(mismatch.unwrap_or(failure)),
                Err(Handshake::WrongKey(shown, failure)) => {
                    let kind = Kind::of(&shown);
                    kinds.retain(|k| Some(*k) != kind);
                    let first = mismatch.get_or_insert(failure);
                    if host.pins.is_empty() || kinds.is_empty() || kind.is_none() {
                        return Err(first.clone());
                    }
                }
            }
        }
    }

    async fn handshake(
        &self,
        host: &Host,
        kinds: &[Kind],
        seen: &Arc<Mutex<Seen>>,
        head: &Head,
    ) -> Result<Connection, Handshake> {
        let at = host.at();
        let tcp = TcpStream::connect((host.address.as_str(), host.port))
            .await
            .map_err(|e| Handshake::Failed(unreachable(format!("connect {at}: {e}"))))?;
        // Commands are single small packets: waiting for more to send would only delay them.
        let _ = tcp.set_nodelay(true);
        let (wire, switch) = Wire::new(tcp, head);
        let config = client::Config {
            preferred: Preferred {
                kex: Cow::Borrowed(KEX),
                key: host_key::offered(kinds),
                host_key_certificates: if host_key::has_authority(&host.pins) {
                    host_key::offered(kinds)
                } else {
                    Cow::Borrowed(&[])
                },
                ..Preferred::DEFAULT
            },
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: 3,
            nodelay: true,
            ..client::Config::default()
        };
        let place = (host.name.clone(), at.clone());
        let known = self
            .trusted
            .lock()
            .ok()
            .and_then(|t| t.get(&place).cloned());
        let client = Client {
            host: host.clone(),
            known,
            seen: seen.clone(),
        };
        match client::connect_stream(Arc::new(config), wire, client).await {
            Ok(handle) => {
                let key = seen.lock().ok().and_then(|s| s.key.clone());
                let host_key = key.as_ref().map(host_key::fingerprint).unwrap_or_default();
                if host.pins.is_empty()
                    && let Ok(mut trusted) = self.trusted.lock()
                {
                    if trusted.len() >= TRUSTED_MAX {
                        trusted.clear();
                    }
                    trusted.entry(place).or_insert_with(|| host_key.clone());
                }
                Ok(Connection {
                    handle,
                    host_key,
                    _switch: switch,
                })
            }
            Err(error) => {
                let shown = seen
                    .lock()
                    .ok()
                    .and_then(|s| s.key.clone().filter(|_| s.key_refused));
                if let Some(shown) = shown {
                    let failure = wrong_key(host, &shown);
                    return Err(Handshake::WrongKey(shown, failure));
                }
                let farewell = seen.lock().ok().and_then(|s| s.farewell.clone());
                Err(Handshake::Failed(explain(&at, &error, head, farewell)))
            }
        }
    }

    /// Offers each credential at most once: the key first, then the password if the host asks for one.
    async fn log_in(
        &self,
        host: &Host,
        key: Option<Arc<PrivateKey>>,
        mut connection: Connection,
        seen: &Arc<Mutex<Seen>>,
    ) -> Result<Connection, Failure> {
        let handle = &mut connection.handle;
        let lost = |e: russh::Error| unreachable(format!("{}: login: {e}", host.at()));
        let mut tried = Vec::new();
        let mut left = None;
        if let Some(key) = key {
            let hash = if key.algorithm().is_rsa() {
                handle
                    .best_supported_rsa_hash()
                    .await
                    .map_err(lost)?
                    .unwrap_or(Some(russh::keys::HashAlg::Sha512))
            } else {
                None
            };
            let key = PrivateKeyWithHashAlg::new(key, hash);
            tried.push("publickey");
            match handle
                .authenticate_publickey(&host.username, key)
                .await
                .map_err(lost)?
            {
                AuthResult::Success => return Ok(connection),
                AuthResult::Failure {
                    remaining_methods, ..
                } => left = Some(remaining_methods),
            }
        }
        if let Some(password) = &host.password
            && left
                .as_ref()
                .is_none_or(|l| l.contains(&MethodKind::Password))
        {
            tried.push("password");
            match handle
                .authenticate_password(&host.username, password.expose())
                .await
                .map_err(lost)?
            {
                AuthResult::Success => return Ok(connection),
                AuthResult::Failure {
                    remaining_methods, ..
                } => left = Some(remaining_methods),
            }
        }
        // Only where the host takes no plain password: a refused one must not be offered again in other clothes.
        let prompts = left.as_ref().is_some_and(|l| {
            l.contains(&MethodKind::KeyboardInteractive) && !l.contains(&MethodKind::Password)
        });
        if let Some(password) = &host.password
            && prompts
        {
            tried.push("keyboard-interactive");
            if answer_prompts(handle, &host.username, password)
                .await
                .map_err(lost)?
            {
                return Ok(connection);
            }
        }
        // The library reports a lost connection as a refusal without methods; the host's own farewell tells them apart.
        let farewell = seen.lock().ok().and_then(|s| s.farewell.clone());
        let no_methods = left.as_ref().is_none_or(|l| l.is_empty());
        if no_methods && handle.is_closed() && farewell.is_none() {
            return Err(unreachable(format!(
                "{}: connection lost during login",
                host.at()
            )));
        }
        let mut message = format!(
            "{}: login of {:?} refused (tried {})",
            host.at(),
            host.username,
            tried.join(", ")
        );
        if let Some(left) = left.filter(|l| !l.is_empty()) {
            let left: Vec<&str> = left.iter().map(Into::into).collect();
            message.push_str(&format!("; the host takes {}", left.join(", ")));
        }
        if let Some(farewell) = farewell {
            message.push_str(&format!("; it said {farewell:?}"));
        }
        Err(Failure::new(FailureCode::AuthFailed, message))
    }

    fn private_key(&self, host: &Host) -> Result<Option<Arc<PrivateKey>>, Failure> {
        let Some(text) = &host.private_key else {
            return Ok(None);
        };
        let passphrase = host.passphrase.as_ref().map(Secret::expose);
        let mut digest = Sha256::new();
        digest.update(text.expose());
        digest.update([0]);
        digest.update(passphrase.unwrap_or_default());
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(key) = self.keys.lock().ok().and_then(|k| k.get(&digest).cloned()) {
            return Ok(Some(key));
        }
        // The error of the parser is not shown: it may quote what it could not read.
        let key = russh::keys::decode_secret_key(text.expose(), passphrase).map_err(|_| {
            let hint = if passphrase.is_some() {
                "or the passphrase is wrong"
            } else {
                "or it is encrypted and the secret has no passphrase"
            };
            Failure::new(
                FailureCode::Refused,
                format!("the secret's privateKey cannot be read, {hint}"),
            )
        })?;
        let key = Arc::new(key);
        if let Ok(mut keys) = self.keys.lock() {
            if keys.len() >= KEYS_KEPT_MAX {
                keys.clear();
            }
            keys.insert(digest, key.clone());
        }
        Ok(Some(key))
    }
}

fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

enum Handshake {
    WrongKey(PublicKey, Failure),
    Failed(Failure),
}

async fn answer_prompts(
    handle: &mut client::Handle<Client>,
    username: &str,
    password: &Secret,
) -> Result<bool, russh::Error> {
    let mut answer = handle
        .authenticate_keyboard_interactive_start(username, None)
        .await?;
    let mut used = false;
    for _ in 0..PROMPT_ROUNDS_MAX {
        answer = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                // One hidden prompt is the password; anything else (a second factor) is not ours to answer.
                let hidden = matches!(&prompts[..], [prompt] if !prompt.echo);
                if !prompts.is_empty() && (!hidden || used) {
                    return Ok(false);
                }
                used |= hidden;
                let answers = prompts
                    .iter()
                    .map(|_| password.expose().to_owned())
                    .collect();
                handle
                    .authenticate_keyboard_interactive_respond(answers)
                    .await?
            }
        };
    }
    Ok(matches!(answer, KeyboardInteractiveAuthResponse::Success))
}

pub fn unreachable(message: String) -> Failure {
    Failure::new(FailureCode::Unreachable, message)
}

fn wrong_key(host: &Host, shown: &PublicKey) -> Failure {
    let print = host_key::fingerprint(shown);
    let at = host.at();
    let (code, message) = if !host.pins.is_empty() {
        (
            FailureCode::IdentityMismatch,
            format!("{at} shows host key {print}, which is not the pinned one; no login was tried"),
        )
    } else if host.policy == Policy::TrustOnFirstUse {
        (
            FailureCode::IdentityMismatch,
            format!(
                "{at} shows host key {print}, not the one of its first use; no login was tried"
            ),
        )
    } else {
        (
            FailureCode::Refused,
            format!(
                "no host key is pinned; {at} shows {print}: compare it with the host's console and set \
                 identity.hostKey, or set config.hostKeyPolicy: trust-on-first-use"
            ),
        )
    };
    let detail = serde_json::json!({ "hostKeySeen": print });
    Failure::new(code, message).with_detail(detail)
}

/// Words of a server that is no SSH server, or one that turns callers away.
fn no_ssh(at: &str, head: &Head) -> Option<Failure> {
    let said = head.bytes();
    let text = String::from_utf8_lossy(&said);
    // sshd drops connections under load (MaxStartups) and of callers that it holds a grudge against.
    let turned_away = ["Exceeded MaxStartups", "Not allowed at this time"];
    if let Some(words) = turned_away.iter().find(|words| text.contains(**words)) {
        return Some(unreachable(format!(
            "{at} turned the connection away before login: {words}"
        )));
    }
    // Lines before the greeting are allowed.
    if said.is_empty() || said.starts_with(b"SSH-") || text.contains("\nSSH-") {
        return None;
    }
    let start: String = text.chars().take(60).collect();
    Some(Failure::new(
        FailureCode::BadReply,
        format!("{at} speaks no SSH: it began with {start:?}"),
    ))
}

/// What a handshake that broke off means.
fn explain(at: &str, error: &russh::Error, head: &Head, farewell: Option<String>) -> Failure {
    if let Some(failure) = no_ssh(at, head) {
        return failure;
    }
    if head.bytes().is_empty() {
        return unreachable(format!("{at} closed the connection without a greeting"));
    }
    if let Some(farewell) = farewell {
        return unreachable(format!(
            "{at} ended the connection before login: {farewell:?}"
        ));
    }
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => Failure::new(
            FailureCode::Refused,
            format!(
                "{at} has no {kind:?} algorithm that is safe today; it has {}",
                theirs.join(", ")
            ),
        ),
        russh::Error::WrongServerSig => Failure::new(
            FailureCode::IdentityMismatch,
            format!("{at} cannot prove that the host key is its own; no login was tried"),
        ),
        russh::Error::HUP | russh::Error::Disconnect | russh::Error::IO(_) => unreachable(format!(
            "{at}: connection lost during the key exchange: {error}"
        )),
        error => Failure::new(
            FailureCode::BadReply,
            format!("{at}: key exchange: {error}"),
        ),
    }
}
