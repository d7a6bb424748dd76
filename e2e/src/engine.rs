//! A Docker Engine of the tests' own, in a folder of its own, ended with the test that started it.

use crate::until;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const DAEMON: &str = "/usr/sbin/dockerd";
const READY_MAX: Duration = Duration::from_secs(60);

pub struct Engine {
    folder: TempDir,
    daemon: Option<Child>,
}

impl Engine {
    /// # Panics
    /// When there is no Docker Engine to start, or it does not come up.
    pub fn start() -> Engine {
        // Unix sockets have short names only, so not below the target folder.
        let folder = tempfile::Builder::new()
            .prefix("sengu-e2e-docker-")
            .tempdir();
        let mut engine = Engine {
            folder: folder.expect("a temporary directory"),
            daemon: None,
        };
        engine.begin();
        engine
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// # Panics
    /// When it does not come up.
    pub fn begin(&mut self) {
        assert!(
            Path::new(DAEMON).exists(),
            "no {DAEMON}: run `cargo xtask test`"
        );
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(at("log"));
        let log = log.expect("a log file");
        // Its network needs nothing of the kernel: containers share the host's.
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", DAEMON])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid")])
            .args(["--host", &format!("unix://{}", at("docker.sock"))])
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip-masq=false",
                "--shutdown-timeout=1",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.expect("dockerd starts"));
        let socket = self.socket();
        until("the Docker Engine answers", READY_MAX, || {
            answers(&socket).then_some(())
        });
    }

    /// Ends it as an operator would, containers too.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        crate::process::signal(daemon.id(), rustix::process::Signal::TERM);
        until("the Docker Engine ends", READY_MAX, || {
            daemon.try_wait().expect("dockerd is ours")
        });
    }
}

fn answers(socket: &Path) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let asked = stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_some() && !std::thread::panicking() {
            self.end();
        }
    }
}
