//! The listener and the SSH side of one played host.

use super::faults::{Faults, Kind};
use super::machine::{Answer, Ending, Machine};
use crate::wire::{Head, Switch, Wire};
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Sig};
use sengu_sdk::TwinTarget;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A hanging connection is let go of after this long.
const HANG_MAX: Duration = Duration::from_secs(3_600);
const STDIN_BYTES_MAX: usize = 2 << 20;

/// What all hosts of a fleet share.
pub struct Keys {
    pub username: String,
    pub password: String,
    pub login: PublicKey,
    /// With the right host key, and with another one.
    pub configs: [Arc<server::Config>; 2],
}

pub fn configs(right: &PrivateKey, wrong: &PrivateKey) -> [Arc<server::Config>; 2] {
    let config = |key: &PrivateKey| {
        Arc::new(server::Config {
            keys: vec![key.clone()],
            methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..]),
            auth_rejection_time: Duration::from_millis(50),
            inactivity_timeout: None,
            nodelay: true,
            ..server::Config::default()
        })
    };
    [config(right), config(wrong)]
}

/// One host in play.
pub struct Played {
    name: String,
    machine: Mutex<Machine>,
    report: Mutex<TwinTarget>,
    pub faults: Faults,
    keys: Arc<Keys>,
    latency: Duration,
    open: Mutex<HashMap<u64, Line>>,
    lines: AtomicU64,
}

/// An open connection; dropping its switch cuts it.
struct Line {
    _switch: Switch,
    running: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens on a free port of loopback for `machine`.
pub async fn play(
    machine: Machine,
    keys: &Arc<Keys>,
    latency_ms: u64,
) -> std::io::Result<(Arc<Played>, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let played = Arc::new(Played {
        name: machine.name.clone(),
        machine: Mutex::new(machine),
        report: Mutex::default(),
        faults: Faults::default(),
        keys: keys.clone(),
        latency: Duration::from_millis(latency_ms),
        open: Mutex::default(),
        lines: AtomicU64::new(0),
    });
    let host = played.clone();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => {
                    tokio::spawn(host.clone().greet(tcp));
                }
                // Out of file descriptors: some will come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok((played, port))
}

impl Played {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn report(&self) -> TwinTarget {
        lock(&self.report).clone()
    }

    /// Cuts connections on which nothing runs.
    pub fn cut_idle(&self) {
        lock(&self.open).retain(|_, line| line.running > 0);
    }

    fn cut(&self, line: u64) {
        lock(&self.open).remove(&line);
    }

    fn running(&self, line: u64, change: i32) {
        if let Some(line) = lock(&self.open).get_mut(&line) {
            line.running = line.running.saturating_add_signed(change);
        }
    }

    async fn greet(self: Arc<Self>, mut tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        if let Some(ms) = self.faults.strikes(Kind::Slow) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        if self.faults.strikes(Kind::Refuse).is_some() {
            let _ = tcp.write_all(b"Exceeded MaxStartups\r\n").await;
            return;
        }
        if self.faults.strikes(Kind::Garbage).is_some() {
            let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = tcp.write_all(page).await;
            drain(tcp, Duration::from_secs(5)).await;
            return;
        }
        if self.faults.strikes(Kind::Hang).is_some() {
            drain(tcp, HANG_MAX).await;
            return;
        }
        if self.faults.strikes(Kind::Cut).is_some() {
            let _ = tcp.write_all(b"SSH-2.0-OpenSSH_9.2p1 twin\r\n").await;
            let mut some = [0; 64];
            let _ = tcp.read(&mut some).await;
            return;
        }
        let wrong_key = self.faults.strikes(Kind::HostKey).is_some();
        let config = self.keys.configs[usize::from(wrong_key)].clone();
        let (wire, switch) = Wire::new(tcp, &Head::default());
        let line = self.lines.fetch_add(1, Ordering::Relaxed);
        let opened = Line {
            _switch: switch,
            running: 0,
        };
        lock(&self.open).insert(line, opened);
        let caller = Caller {
            host: self.clone(),
            line,
            logged_in: false,
        };
        if let Ok(session) = server::run_stream(config, wire, caller).await {
            let _ = session.await;
        }
        self.cut(line);
    }

    /// One channel: waits for a command, runs it, answers.
    async fn serve(self: Arc<Self>, line: u64, mut channel: Channel<Msg>, handle: server::Handle) {
        let id = channel.id();
        let mut stdin = Vec::new();
        let command = loop {
            match channel.wait().await {
                Some(ChannelMsg::Exec { command, .. }) => break command,
                Some(
                    ChannelMsg::RequestSubsystem { .. }
                    | ChannelMsg::RequestShell { .. }
                    | ChannelMsg::RequestPty { .. },
                ) => {
                    let _ = handle.channel_failure(id).await;
                }
                Some(ChannelMsg::Close) | None => return,
                Some(_) => {}
            }
        };
        self.running(line, 1);
        let _running = Running(self.clone(), line);
        let _ = handle.channel_success(id).await;
        let command = String::from_utf8_lossy(&command).into_owned();
        if Machine::wants_stdin(&command) {
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Data { data }) if stdin.len() < STDIN_BYTES_MAX => {
                        stdin.extend_from_slice(&data);
                    }
                    Some(ChannelMsg::Eof) => break,
                    Some(ChannelMsg::Close) | None => return,
                    Some(_) => {}
                }
            }
        }
        let mut delay = self.latency;
        if let Some(ms) = self.faults.strikes(Kind::Slow) {
            delay += Duration::from_millis(ms);
        }
        let hangs = self.faults.strikes(Kind::Hang).is_some();
        if delay > Duration::ZERO || hangs {
            let delay = if hangs { HANG_MAX } else { delay };
            if ended_meanwhile(&mut channel, delay).await {
                return;
            }
        }
        let answer = lock(&self.machine).run(&command, &stdin);
        self.count(&answer);
        if self.faults.strikes(Kind::CutMid).is_some() {
            self.cut(line);
            return;
        }
        self.answer(channel, handle, answer).await;
    }

    async fn answer(&self, mut channel: Channel<Msg>, handle: server::Handle, answer: Answer) {
        let id = channel.id();
        if !answer.stdout.is_empty() {
            let _ = channel.data_bytes(answer.stdout).await;
        }
        if !answer.stderr.is_empty() {
            let _ = channel.extended_data_bytes(1, answer.stderr).await;
        }
        let ending = match answer.ending {
            Ending::SleepThenExit(time, code) => match killed_meanwhile(&mut channel, time).await {
                Meanwhile::Slept => Ending::Exit(code),
                Meanwhile::Killed => Ending::Killed,
                Meanwhile::Closed => return,
            },
            ending => ending,
        };
        match ending {
            Ending::Exit(code) => {
                let _ = channel.exit_status(code).await;
            }
            _ => {
                let _ = handle
                    .exit_signal_request(id, Sig::KILL, false, String::new(), String::new())
                    .await;
            }
        }
        let _ = channel.eof().await;
        let _ = channel.close().await;
    }

    fn count(&self, answer: &Answer) {
        let mut report = lock(&self.report);
        report.requests += 1;
        if let Some(effect) = &answer.effect {
            *report.effects.entry(effect.clone()).or_default() += 1;
        }
        // The last command alone, so that the report stays small however long the twin lives.
        if let Some(command) = &answer.command {
            report.effects.retain(|name, _| !name.starts_with("exec:"));
            let shown: String = command.chars().take(80).collect();
            report.effects.insert(format!("exec:{shown}"), 1);
        }
    }
}

struct Running(Arc<Played>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running(self.1, -1);
    }
}

enum Meanwhile {
    Slept,
    Killed,
    Closed,
}

async fn killed_meanwhile(channel: &mut Channel<Msg>, time: Duration) -> Meanwhile {
    let sleep = tokio::time::sleep(time);
    let mut sleep = std::pin::pin!(sleep);
    loop {
        tokio::select! {
            () = &mut sleep => return Meanwhile::Slept,
            message = channel.wait() => match message {
                Some(ChannelMsg::Signal { .. }) => return Meanwhile::Killed,
                Some(ChannelMsg::Close) | None => return Meanwhile::Closed,
                Some(_) => {}
            },
        }
    }
}

async fn ended_meanwhile(channel: &mut Channel<Msg>, time: Duration) -> bool {
    !matches!(killed_meanwhile(channel, time).await, Meanwhile::Slept)
}

/// Reads and forgets until the caller leaves or `time` is over.
async fn drain(mut tcp: TcpStream, time: Duration) {
    let read = async {
        let mut some = [0; 1024];
        while tcp.read(&mut some).await.is_ok_and(|n| n > 0) {}
    };
    let _ = tokio::time::timeout(time, read).await;
}

/// Somebody connected to a played host.
struct Caller {
    host: Arc<Played>,
    line: u64,
    logged_in: bool,
}

impl Caller {
    fn knows(&self, user: &str, key: &PublicKey) -> bool {
        let keys = &self.host.keys;
        user == keys.username && key.key_data() == keys.login.key_data()
    }

    fn judge(&self, good: bool) -> Auth {
        if good && self.host.faults.strikes(Kind::Auth).is_none() {
            return Auth::Accept;
        }
        lock(&self.host.report).auth_failures += 1;
        Auth::reject()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.logged_in {
            lock(&self.host.report).sessions_open -= 1;
        }
    }
}

impl server::Handler for Caller {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let keys = &self.host.keys;
        let good = user == keys.username && password == keys.password;
        Ok(self.judge(good))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: server::PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        // A good key is judged when its signature came.
        Ok(if self.knows(user, offer.public_key) {
            Auth::Accept
        } else {
            self.judge(false)
        })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: server::VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let good = self.knows(user, key.public_key);
        Ok(self.judge(good))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.logged_in = true;
        let mut report = lock(&self.host.report);
        report.sessions_open += 1;
        report.sessions_max = report.sessions_max.max(report.sessions_open);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.host.faults.strikes(Kind::SessionsFull).is_some() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        reply.accept().await;
        let (host, line) = (self.host.clone(), self.line);
        tokio::spawn(host.serve(line, channel, session.handle()));
        Ok(())
    }
}
