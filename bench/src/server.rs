//! A `sengu up` of its own for every measurement, in a data directory of its own.

use crate::Bench;
use crate::cpu::{self, Tree};
use crate::http::Client;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From start to an answer on /readyz.
const READY_MAX: Duration = Duration::from_secs(60);
/// From SIGTERM to the end.
const END_MAX: Duration = Duration::from_secs(30);

/// The configuration file, where there is one.
const CONFIG: &str = "sengu.toml";

pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    sengu: PathBuf,
    workers: PathBuf,
    pub address: SocketAddr,
    pub token: String,
}

impl Server {
    pub fn start(bench: &Bench) -> Result<Server> {
        Server::start_with(bench, None)
    }

    /// With a configuration file.
    pub fn start_with(bench: &Bench, config: Option<&str>) -> Result<Server> {
        let mut server = Server::begin(bench, config, |_| Ok(()))?;
        server.ready()?;
        Ok(server)
    }

    /// One that stands by `active`, on the store and broker that the configuration names.
    pub fn beside(bench: &Bench, active: &Server, config: &str) -> Result<Server> {
        let mut server = Server::begin(bench, Some(config), |data| {
            fs::create_dir(data)?;
            fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
            for file in ["token", "seal.key"] {
                fs::copy(active.data().join(file), data.join(file))?;
            }
            Ok(())
        })?;
        let end = Instant::now() + READY_MAX;
        while Instant::now() < end {
            if server.listens() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the one that stands by does not listen: {}", server.log())
    }

    fn begin(
        bench: &Bench,
        config: Option<&str>,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Server> {
        let folder = tempfile::Builder::new()
            .prefix("up-")
            .tempdir_in(&bench.scratch)
            .context("make a data directory")?;
        if let Some(config) = config {
            fs::write(folder.path().join(CONFIG), config).context("write the configuration")?;
        }
        prepare(&folder.path().join("data"))?;
        Ok(Server {
            child: spawn(&bench.sengu, &bench.workers, folder.path())?,
            folder,
            sengu: bench.sengu.clone(),
            workers: bench.workers.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: String::new(),
        })
    }

    /// No chance to say good-bye.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill sengu")?;
        self.child.wait().context("wait for sengu").map(drop)
    }

    /// Ends it and starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        end(&mut self.child, END_MAX);
        // The old address must not be taken for the new one's.
        let _ = fs::remove_file(self.data().join("endpoint"));
        self.child = spawn(&self.sengu, &self.workers, self.folder.path())?;
        self.ready()
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

    /// It has said where, and the token is known.
    fn listens(&mut self) -> bool {
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
        true
    }

    fn answers(&mut self) -> bool {
        if !self.listens() {
            return false;
        }
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

    /// Itself and all living processes below it.
    pub fn below(&self) -> Result<Vec<u32>> {
        cpu::family(self.pid())
    }

    /// Lines of its log that tell of trouble.
    pub fn complaints(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let bad = |l: &&str| l.contains(" WARN ") || l.contains("ERROR") || l.contains("panicked");
        text.lines().filter(bad).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child, END_MAX);
    }
}

fn spawn(sengu: &Path, workers: &Path, folder: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .context("open the log")?;
    let mut command = Command::new(sengu);
    command.arg("up").arg("--data").arg(folder.join("data"));
    let config = folder.join(CONFIG);
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command
        .args(["--listen", "127.0.0.1:0", "--workers"])
        .arg(workers)
        .env_remove("SENGU_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", sengu.display()))
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
