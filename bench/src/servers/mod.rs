//! Foreign servers that the suites drive and peers that are services, each started here on loopback and ended by its pid.

pub mod agents;
pub mod dockerd;
pub mod emulator;
pub mod sshd;

use crate::cpu;
use crate::server::end;
use anyhow::{Context as _, Result, bail};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From start to ready.
pub const READY_MAX: Duration = Duration::from_secs(90);

/// A process that ends with its value.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it quietly; its stderr goes where the caller said, or nowhere.
    pub fn start(command: &mut Command) -> Result<Process> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Process(child))
    }

    /// Waits for a condition, and fails when the process ends or takes too long.
    pub fn wait_for(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
        let end = Instant::now() + READY_MAX;
        while Instant::now() < end {
            if ready() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("{what} ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{what} is not ready within {READY_MAX:?}")
    }

    pub fn stop(&mut self) {
        end(&mut self.0, Duration::from_secs(10));
    }

    /// CPU of it and of all below it so far; NaN when it has ended.
    pub fn cpu_s(&self) -> f64 {
        cpu::tree(self.0.id()).map_or(f64::NAN, cpu::Tree::all_s)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

/// A program by its full path.
///
/// # Errors
/// As one line, with what installs it.
pub fn program(path: &str, installed_by: &str) -> Result<PathBuf, String> {
    let found = PathBuf::from(path);
    if found.exists() {
        Ok(found)
    } else {
        Err(format!("{path} is missing: {installed_by}"))
    }
}
