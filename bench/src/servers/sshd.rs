//! One OpenSSH server that stands for many hosts: every address of 127.0.0.0/8 leads to it.

use super::{Process, free_port, is_free, program};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Who logs in, and on which port, where a peer's script has this written in it.
pub const PEERS_USER: &str = "senguops";
pub const PEERS_PORT: u16 = 2222;

pub struct Sshd {
    process: Process,
    folder: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    /// Whether the port that a peer's script wants was free.
    pub on_peers_port: bool,
}

fn say(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// As root a user of its own, whose shell runs nothing at login; else the current one.
fn user() -> Result<String> {
    if say(Command::new("id").arg("-u"))? != "0" {
        return say(Command::new("id").arg("-un"));
    }
    if say(Command::new("id").arg(PEERS_USER)).is_err() {
        // A password that nothing matches: a locked account would be refused by its key, too.
        say(Command::new("useradd").args([
            "--create-home",
            "--shell",
            "/bin/sh",
            "--password",
            "*",
            PEERS_USER,
        ]))?;
    }
    Ok(PEERS_USER.to_owned())
}

impl Sshd {
    pub fn start() -> Result<Sshd> {
        let sshd = program("/usr/sbin/sshd", "apt-get install openssh-server")
            .map_err(anyhow::Error::msg)?;
        let user = user()?;
        let _ = fs::create_dir("/run/sshd");
        let folder = tempfile::tempdir().context("make a folder for sshd")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            say(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at(key)))?;
        }
        let port = free_port()?;
        let on_peers_port = is_free(PEERS_PORT);
        let also = if on_peers_port {
            format!("Port {PEERS_PORT}\n")
        } else {
            String::new()
        };
        let config = format!(
            "Port {port}\n{also}ListenAddress 0.0.0.0\nAllowUsers {user}@127.0.0.0/8\nHostKey {}\nPidFile none\nUsePAM no\n\
             AuthorizedKeysFile {}\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PrintMotd no\nMaxStartups 1000:30:2000\nMaxSessions 1000\nLogLevel ERROR\n",
            at("host").display(),
            at("user.pub").display()
        );
        fs::write(at("config"), config)?;
        let log = fs::File::create(at("log"))?;
        let process = Process::start(
            Command::new(sshd)
                .args(["-D", "-e", "-f"])
                .arg(at("config"))
                .stderr(log),
        )?;
        let mut sshd = Sshd {
            process,
            folder,
            port,
            user,
            on_peers_port,
        };
        sshd.process
            .wait_for("sshd", || greets(port))
            .with_context(|| {
                fs::read_to_string(sshd.folder.path().join("log")).unwrap_or_default()
            })?;
        Ok(sshd)
    }

    /// CPU so far, with that of the sessions that have ended.
    pub fn cpu_s(&self) -> f64 {
        self.process.cpu_s()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path(name)).with_context(|| format!("read {name}"))
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let _ = tcp.set_read_timeout(Some(Duration::from_secs(10)));
    let mut greeting = [0; 4];
    tcp.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
}
