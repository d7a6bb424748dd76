//! A thousand SNMP agents on addresses of their own, played by snmpsim: one device's values, in two processes, because
//! one answers only a few hundred requests a second.

use super::Process;
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A peer's script has these addresses written in it.
const PORT: u16 = 1161;
const PROCESSES: usize = 2;
pub const COMMUNITY: &str = "public";

/// GET of sysUpTime.0, v2c, community `public`.
const PROBE: &[u8] =
    b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\
\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x05\x00";

pub struct Agents {
    _processes: Vec<Process>,
    _folder: tempfile::TempDir,
}

pub fn address(number: usize) -> String {
    format!("127.1.{}.{}:{PORT}", number / 250, number % 250 + 1)
}

/// What one agent holds: the time since its start, and nine outlets that are on.
fn values() -> String {
    let mut text = String::from("1.3.6.1.2.1.1.3.0|67|123999999\n");
    for outlet in 1..=9 {
        let _ = writeln!(text, "1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.{outlet}|2|1");
    }
    text
}

impl Agents {
    pub fn start(responder: &Path, count: usize) -> Result<Agents> {
        let folder = tempfile::tempdir().context("make a folder for snmpsim")?;
        fs::create_dir(folder.path().join("data"))?;
        fs::write(
            folder.path().join(format!("data/{COMMUNITY}.snmprec")),
            values(),
        )?;
        let root = fs::metadata("/proc/self")?.uid() == 0;
        let each = count.div_ceil(PROCESSES);
        let mut processes = Vec::new();
        for start in (0..count).step_by(each) {
            let numbers = start..(start + each).min(count);
            let cache = folder.path().join(format!("cache-{start}"));
            fs::create_dir(&cache)?;
            let mut command = Command::new(responder);
            command
                .arg(format!(
                    "--data-dir={}",
                    folder.path().join("data").display()
                ))
                .arg(format!("--cache-dir={}", cache.display()))
                .args(["--logging-method=null", "--quiet"])
                .args(
                    numbers
                        .clone()
                        .map(|n| format!("--agent-udpv4-endpoint={}", address(n))),
                )
                .current_dir(folder.path())
                .stderr(Stdio::null());
            if root {
                // As root it wants to be told whom to be, and cannot load its modules as anyone else.
                command.args(["--process-user=root", "--process-group=root"]);
            }
            let mut process = Process::start(&mut command)?;
            let last = address(numbers.end - 1);
            process.wait_for("snmpsim", || answers(&last))?;
            processes.push(process);
        }
        Ok(Agents {
            _processes: processes,
            _folder: folder,
        })
    }
}

fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send(PROBE)?;
        socket.recv(&mut [0; 1500])
    };
    ask().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_peers() {
        let some = [0, 249, 250, 999].map(address);
        assert_eq!(
            some,
            [
                "127.1.0.1:1161",
                "127.1.0.250:1161",
                "127.1.1.1:1161",
                "127.1.3.250:1161"
            ]
        );
        assert_eq!(PROBE.len(), 2 + usize::from(PROBE[1]));
    }
}
