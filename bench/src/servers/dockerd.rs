//! A Docker Engine of the bench's own: a real one, in a folder of its own, which ends with it.

use super::{Process, program};
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSTALLED_BY: &str = "`cargo xtask test` installs it";

pub struct Dockerd {
    // Before the folder: it ends first.
    process: Process,
    folder: tempfile::TempDir,
}

impl Dockerd {
    /// Why there is none here, if so.
    pub fn absent() -> Option<String> {
        let daemon = program("/usr/sbin/dockerd", INSTALLED_BY).err();
        daemon.or_else(|| {
            (!rustix::process::geteuid().is_root())
                .then(|| "only root may start an engine".to_owned())
        })
    }

    pub fn start() -> Result<Dockerd> {
        // A socket has a short name only, so not below the target folder.
        let folder = tempfile::Builder::new()
            .prefix("sengu-bench-docker-")
            .tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let log = File::create(at("log"))?;
        // Its network needs nothing of the kernel: containers share the host's.
        let process = Process::start(
            Command::new("setpriv")
                .args(["--pdeathsig", "TERM", "/usr/sbin/dockerd"])
                .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
                .args(["--pidfile", &at("pid"), "--group", "root"])
                .args(["--host", &format!("unix://{}", at("docker.sock"))])
                .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
                .arg("--shutdown-timeout=1")
                .stderr(log),
        )?;
        let mut dockerd = Dockerd { process, folder };
        let client = dockerd.client();
        let answers = || {
            let mut version = Command::new("docker");
            version.args(&client).arg("version");
            let quiet = version
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            quiet.status().is_ok_and(|status| status.success())
        };
        dockerd
            .process
            .wait_for("dockerd", answers)
            .with_context(|| {
                std::fs::read_to_string(dockerd.folder.path().join("log")).unwrap_or_default()
            })?;
        Ok(dockerd)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn client(&self) -> [String; 2] {
        [
            "--host".to_owned(),
            format!("unix://{}", self.socket().display()),
        ]
    }

    /// The docker command on this engine.
    pub fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(self.client())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What the docker command writes, line by line.
    pub fn lines(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = self.docker(arguments).output().context("run docker")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {arguments:?}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.process.stop();
        // The daemon leaves mounts behind, such as the host's network.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.folder.path())) {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
    }
}
