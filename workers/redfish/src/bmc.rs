//! What an instance keeps of a BMC between tasks: connections, one session, and the links found so far.
//!
//! A session is a scarce thing of the device (some have four), so whatever opens one here must also be able to close it:
//! logins run to their end even when the task that wanted them is gone, and every session is known until it is deleted.

use crate::config::{Access, AuthMode, Credentials, Origin};
use crate::http::{Call, Trouble, Wire};
use crate::links::Known;
use crate::{limits, reply};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use parking_lot::Mutex;
use sengu_sdk::{Failure, FailureCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// All BMCs that this instance has met lately.
pub struct Fleet {
    bmcs: Mutex<HashMap<Key, Arc<Bmc>>>,
    idle_connections: Arc<AtomicUsize>,
    connections_per_bmc: usize,
    hasher: RandomState,
    reaping: std::sync::Once,
}

/// Two targets share a BMC's state only when they reach it alike and as the same user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    trust: (u8, [u8; 32]),
    auth: AuthMode,
    credentials: Option<u64>,
}

pub struct Bmc {
    pub wire: Wire,
    auth: AuthMode,
    sessions: Mutex<Sessions>,
    /// Held through every login and logout, so that there is at most one session.
    gate: tokio::sync::Mutex<()>,
    pub known: Mutex<Known>,
    pub seeking: Seeking,
    users: AtomicUsize,
    used_at: Mutex<Instant>,
}

/// Held while a link is looked for, so that many tasks at once on a BMC not yet known ask it once.
#[derive(Default)]
pub struct Seeking {
    pub root: tokio::sync::Mutex<()>,
    pub systems: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Sessions {
    open: Option<Session>,
    /// Refused once with 401, so perhaps gone; deleted at the next occasion to be sure.
    stale: Vec<Session>,
    /// The BMC has no SessionService.
    basic_only: bool,
    /// Logins were refused, or no session was free: nobody asks again before.
    rest: Option<(Instant, Failure)>,
}

#[derive(Clone)]
struct Session {
    token: HeaderValue,
    path: Option<String>,
}

/// A BMC in use; the reaper leaves it alone.
pub struct Lease(Arc<Bmc>);

impl Lease {
    fn new(bmc: Arc<Bmc>) -> Lease {
        bmc.users.fetch_add(1, Ordering::SeqCst);
        Lease(bmc)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Lease::new(self.0.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.0.used_at.lock() = Instant::now();
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

impl std::ops::Deref for Lease {
    type Target = Bmc;
    fn deref(&self) -> &Bmc {
        &self.0
    }
}

impl Fleet {
    /// `connections_per_bmc`: the kind's session limit.
    pub fn new(connections_per_bmc: usize) -> Arc<Fleet> {
        Arc::new(Fleet {
            bmcs: Mutex::new(HashMap::new()),
            idle_connections: Arc::default(),
            connections_per_bmc,
            hasher: RandomState::new(),
            reaping: std::sync::Once::new(),
        })
    }

    /// # Errors
    /// `refused` for an address that is none.
    pub fn lease(self: &Arc<Self>, access: &Access) -> Result<Lease, Failure> {
        self.reaping.call_once(|| {
            tokio::spawn(reap(Arc::downgrade(self)));
        });
        let credentials = access.credentials.as_ref().map(|c| {
            self.hasher
                .hash_one((c.username.expose(), c.password.expose()))
        });
        let key = Key {
            origin: access.origin.clone(),
            trust: access.trust.key(),
            auth: access.auth,
            credentials,
        };
        let mut bmcs = self.bmcs.lock();
        if let Some(bmc) = bmcs.get(&key) {
            return Ok(Lease::new(bmc.clone()));
        }
        if bmcs.len() >= limits::BMCS_MAX {
            bmcs.retain(|_, bmc| bmc.in_use() || bmc.has_session());
        }
        let wire = Wire::new(
            access.origin.clone(),
            access.trust.clone(),
            self.connections_per_bmc,
            self.idle_connections.clone(),
        )?;
        let bmc = Arc::new(Bmc {
            wire,
            auth: access.auth,
            sessions: Mutex::default(),
            gate: tokio::sync::Mutex::new(()),
            known: Mutex::default(),
            seeking: Seeking::default(),
            users: AtomicUsize::new(0),
            used_at: Mutex::new(Instant::now()),
        });
        bmcs.insert(key, bmc.clone());
        Ok(Lease::new(bmc))
    }

    /// Deletes all sessions. Called when no task is in hand any more.
    pub async fn drain(&self) {
        let all: Vec<Arc<Bmc>> = self.bmcs.lock().drain().map(|(_, bmc)| bmc).collect();
        logout_all(all).await;
    }

    async fn tidy(&self) {
        let mut idle = Vec::new();
        self.bmcs.lock().retain(|_, bmc| {
            bmc.wire.close_idle();
            let unused = bmc.used_at.lock().elapsed();
            if bmc.in_use() || unused < limits::SESSION_IDLE {
                return true;
            }
            if bmc.has_session() {
                idle.push(bmc.clone());
                return true;
            }
            unused < limits::BMC_IDLE
        });
        logout_all(idle).await;
    }
}

async fn reap(fleet: std::sync::Weak<Fleet>) {
    let mut every = tokio::time::interval(limits::REAP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match fleet.upgrade() {
            Some(fleet) => fleet.tidy().await,
            None => return,
        }
    }
}

async fn logout_all(bmcs: Vec<Arc<Bmc>>) {
    let mut logouts = JoinSet::new();
    for bmc in bmcs {
        if logouts.len() >= limits::LOGOUTS_AT_ONCE {
            let _ = logouts.join_next().await;
        }
        logouts.spawn(async move { bmc.logout().await });
    }
    while logouts.join_next().await.is_some() {}
}

impl Bmc {
    fn in_use(&self) -> bool {
        self.users.load(Ordering::SeqCst) > 0
    }

    fn has_session(&self) -> bool {
        let sessions = self.sessions.lock();
        sessions.open.is_some() || !sessions.stale.is_empty()
    }

    /// Deletes the session unless a task has begun to use it meanwhile.
    async fn logout(&self) {
        let _gate = self.gate.lock().await;
        if self.in_use() {
            return;
        }
        let gone: Vec<Session> = {
            let mut sessions = self.sessions.lock();
            let open = sessions.open.take();
            sessions.stale.drain(..).chain(open).collect()
        };
        for session in gone {
            // Once more on trouble; after that the BMC's own time-out has to do it.
            for _ in 0..2 {
                let deletion = self.delete(&session);
                if matches!(timeout(limits::LOGOUT_MAX / 2, deletion).await, Ok(true)) {
                    break;
                }
            }
        }
    }

    async fn delete(&self, session: &Session) -> bool {
        let Some(path) = &session.path else {
            return true;
        };
        let mut call = Call::new(Method::DELETE, path);
        call.headers.push((TOKEN, session.token.clone()));
        match self
            .wire
            .send(&call, Instant::now() + limits::LOGOUT_MAX)
            .await
        {
            Ok(reply) => reply.ok() || matches!(reply.status, 401 | 404 | 405),
            Err(_) => false,
        }
    }
}

/// What a request carries to say who asks.
#[derive(Clone)]
pub struct Pass {
    pub header: Option<(HeaderName, HeaderValue)>,
    /// Whether a new login may help when it is refused.
    session: bool,
}

impl Lease {
    /// The session's token, or Basic, or nothing for a target without a secret.
    ///
    /// # Errors
    /// `auth_failed`; `busy` when no session is free; trouble on the way.
    pub async fn pass(
        &self,
        credentials: Option<&Credentials>,
        deadline: Instant,
    ) -> Result<Pass, Trouble> {
        let Some(credentials) = credentials else {
            return Ok(Pass {
                header: None,
                session: false,
            });
        };
        if let Some(pass) = self.pass_at_hand(credentials)? {
            return Ok(pass);
        }
        let (lease, owned) = (self.clone(), credentials.clone());
        let login = tokio::spawn(async move { lease.login(&owned).await });
        match tokio::time::timeout_at(deadline, login).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => {
                let message = "the login's code panicked";
                return Err(Trouble::failed(FailureCode::Crashed, message));
            }
            Err(_) => {
                let message = "no session before the deadline";
                return Err(Trouble::failed(FailureCode::Timeout, message));
            }
        }
        match self.pass_at_hand(credentials)? {
            Some(pass) => Ok(pass),
            // Another task's 401 took it away between the two lines.
            None => Err(Failure::busy("the session was lost at once", 1_000).into()),
        }
    }

    fn pass_at_hand(&self, credentials: &Credentials) -> Result<Option<Pass>, Trouble> {
        let sessions = self.sessions.lock();
        if let Some((until, failure)) = &sessions.rest
            && Instant::now() < *until
        {
            return Err(failure.clone().into());
        }
        if self.auth == AuthMode::Basic || sessions.basic_only {
            return Ok(Some(Pass {
                header: Some(basic(credentials)),
                session: false,
            }));
        }
        Ok(sessions.open.as_ref().map(|session| Pass {
            header: Some((TOKEN, session.token.clone())),
            session: true,
        }))
    }

    /// After a 401: whether asking for another pass may help. Forgets the session that was refused.
    pub fn refused(&self, pass: &Pass) -> bool {
        let mut sessions = self.sessions.lock();
        let token = pass.header.as_ref().map(|(_, value)| value);
        if pass.session && sessions.open.as_ref().map(|s| &s.token) == token {
            let gone = sessions.open.take();
            if sessions.stale.len() < limits::STALE_SESSIONS_MAX {
                sessions.stale.extend(gone);
            }
        }
        pass.session
    }

    /// Remembers that these credentials are refused, so that other tasks do not try them at once.
    pub fn shut_out(&self, failure: &Failure) {
        self.rest(failure, limits::AUTH_REFUSED_REST);
    }

    fn rest(&self, failure: &Failure, wait: Duration) {
        self.sessions.lock().rest = Some((Instant::now() + wait, failure.clone()));
    }

    async fn login(&self, credentials: &Credentials) -> Result<(), Trouble> {
        let _gate = self.gate.lock().await;
        if self.pass_at_hand(credentials)?.is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + limits::LOGIN_MAX;
        let path = crate::links::sessions(self, credentials, deadline).await?;
        let Some(path) = path else {
            return self.without_sessions("the service root has no link to sessions");
        };
        let body = json!({
            "UserName": credentials.username.expose(), "Password": credentials.password.expose(),
        });
        let mut call = Call::new(Method::POST, &path);
        call.body = Some(Bytes::from(body.to_string()));
        let reply = self.wire.send(&call, deadline).await?;
        if reply.ok() {
            return self.opened(&reply);
        }
        if reply.sessions_full() {
            let rest = reply
                .retry_after_ms()
                .unwrap_or(limits::SESSIONS_FULL_REST_MS);
            let failure = reply.failure("all sessions of the BMC are taken");
            let failure = Failure::busy(failure.message, rest);
            self.rest(&failure, limits::SESSIONS_FULL_SHORT_REST);
            return Err(failure.into());
        }
        let failure = reply.failure("login");
        let no_service = matches!(reply.status, 404 | 405 | 501);
        if no_service {
            return self.without_sessions(&failure.message);
        }
        let denied = matches!(reply.status, 401 | 403)
            || (reply.status == 400 && says_unauthorized(&reply.json()));
        if denied && failure.code != FailureCode::Busy {
            let failure = Failure {
                code: FailureCode::AuthFailed,
                ..failure
            };
            self.shut_out(&failure);
            return Err(failure.into());
        }
        Err(failure.into())
    }

    fn opened(&self, reply: &reply::Reply) -> Result<(), Trouble> {
        let Some(token) = reply.headers.get(TOKEN) else {
            let message = "the BMC opened a session and gave no X-Auth-Token";
            return Err(Trouble::failed(FailureCode::BadReply, message));
        };
        let mut token = token.clone();
        token.set_sensitive(true);
        let in_body = || reply::path_of(reply.json().get("@odata.id")?.as_str()?);
        let path = reply.location().or_else(in_body);
        self.sessions.lock().open = Some(Session { token, path });
        Ok(())
    }

    fn without_sessions(&self, why: &str) -> Result<(), Trouble> {
        if self.auth == AuthMode::Session {
            let message = format!("config.auth is session, but {why}");
            return Err(Trouble::failed(FailureCode::Refused, message));
        }
        self.sessions.lock().basic_only = true;
        Ok(())
    }
}

pub fn basic(credentials: &Credentials) -> (HeaderName, HeaderValue) {
    let pair = format!(
        "{}:{}",
        credentials.username.expose(),
        credentials.password.expose()
    );
    let text = format!("Basic {}", BASE64.encode(pair));
    // Base64 is always a valid header value.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    (AUTHORIZATION, value)
}

/// iLOs answer wrong passwords with 400.
fn says_unauthorized(body: &Value) -> bool {
    let text = body.to_string();
    [
        "UnauthorizedLoginAttempt",
        "InvalidCredentials",
        "LoginFailed",
    ]
    .iter()
    .any(|id| text.contains(id))
}
