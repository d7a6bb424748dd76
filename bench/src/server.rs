//! A `sengu up` of its own for every measurement, in a data directory of its own.

use crate::Bench;
use crate::cpu::{self, Tree};
use crate::http::Client;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From start to an answer on /readyz.
const READY_MAX: Duration = Duration::from_secs(60);
/// From SIGTERM to the end.
const END_MAX: Duration = Duration::from_secs(30);

pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    sengu: PathBuf,
    pub address: SocketAddr,
    pub token: String,
}

impl Server {
    pub fn start(bench: &Bench) -> Result<Server> {
        let folder = tempfile::Builder::new()
            .prefix("up-")
            .tempdir_in(&bench.scratch)
            .context("make a data directory")?;
        let log = File::create(folder.path().join("log")).context("make the log")?;
        let child = Command::new(&bench.sengu)
            .arg("up")
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--listen", "127.0.0.1:0", "--workers"])
            .arg(&bench.workers)
            .env_remove("SENGU_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", bench.sengu.display()))?;
        let mut server = Server {
            child,
            folder,
            sengu: bench.sengu.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: String::new(),
        };
        server.ready()?;
        Ok(server)
    }

    fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_MAX;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("sengu up ended with {status}: {}", self.log());
            }
            if self.answers() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("sengu up is not ready within {READY_MAX:?}: {}", self.log())
    }

    fn answers(&mut self) -> bool {
        let data = self.data();
        let Ok(endpoint) = fs::read_to_string(data.join("endpoint")) else {
            return false;
        };
        let Ok(token) = fs::read_to_string(data.join("token")) else {
            return false;
        };
        let Ok(address) = endpoint.trim().trim_start_matches("http://").parse() else {
            return false;
        };
        self.address = address;
        token.trim().clone_into(&mut self.token);
        let ready = self.client().and_then(|mut c| c.get_text("/readyz"));
        ready.is_ok()
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address, &self.token)
    }

    /// A command of the CLI that speaks to this server.
    pub fn cli(&self) -> Command {
        let mut command = Command::new(&self.sengu);
        for name in ["SENGU_SERVER", "SENGU_TOKEN_FILE", "SENGU_CA_FILE"] {
            command.env_remove(name);
        }
        command.env("SENGU_DATA", self.data()).stdin(Stdio::null());
        command
    }

    /// CPU so far of sengu (root) and of its workers (below).
    pub fn cpu(&self) -> Result<Tree> {
        cpu::tree(self.pid()).with_context(|| format!("sengu up: {}", self.log()))
    }

    /// Lines of its log that tell of trouble.
    pub fn complaints(&self) -> usize {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let bad = |l: &&str| l.contains(" WARN ") || l.contains("ERROR") || l.contains("panicked");
        text.lines().filter(bad).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child, END_MAX);
    }
}

/// Asks a process that we started to end, and kills it when it does not.
pub fn end(child: &mut Child, limit: Duration) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let (Some(pid), Ok(None)) = (pid, child.try_wait()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}
