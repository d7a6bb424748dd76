//! A Docker Engine of the tests' own: a real one, in a folder of its own, ended with the test that started it.

#![allow(dead_code)] // The tests and the example each use a part.

pub mod live;

use sengu_execution::runtime::{Image, Resources, RuntimeDecl};
use sengu_runtime_docker::{DEFAULT_NETWORK, DockerRuntime, Settings};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const READY_MAX: Duration = Duration::from_secs(60);
const HINT: &str = "run `cargo xtask test`, which installs what the tests need";

pub struct Engine {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Engine {
    /// Made, but not started.
    pub fn absent() -> Engine {
        let folder = tempfile::Builder::new().prefix("sengu-docker-").tempdir();
        Engine {
            // Unix sockets have short names only, so not below the target folder.
            folder: folder.expect("make a folder"),
            daemon: None,
        }
    }

    pub fn start() -> Engine {
        let mut engine = Engine::absent();
        engine.begin();
        engine
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("docker.sock")
    }

    /// Starts the daemon and waits until it answers.
    pub fn begin(&mut self) {
        self.begin_with(&[]);
    }

    pub fn begin_with(&mut self, more: &[&str]) {
        assert!(
            Path::new("/usr/sbin/dockerd").exists(),
            "no dockerd: {HINT}"
        );
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"))
            .expect("open the log");
        let at = |name: &str| self.path().join(name).display().to_string();
        let group = own_group();
        // When the test itself is killed, the daemon ends and takes its containers along. Its network needs nothing of
        // the kernel: containers share the host's.
        let daemon = as_root("setpriv")
            .args(["--pdeathsig", "TERM", "/usr/sbin/dockerd"])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid"), "--group", &group])
            .args(["--host", &format!("unix://{}", at("docker.sock"))])
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
            .args(["--shutdown-timeout=1"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.expect(HINT));
        let began = Instant::now();
        while !self.docker(&["version"]).status.success() {
            assert!(began.elapsed() < READY_MAX, "no engine: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the daemon at once, as a crash would. Its containers live on.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.reap();
        // Its containerd dies with it. The next daemon takes one that is dead but not yet reaped for alive, and waits
        // for it without end.
        let pid_file = self.path().join("exec/containerd/containerd.pid");
        let pid = std::fs::read_to_string(&pid_file).unwrap_or_default();
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let began = Instant::now();
        while lives() {
            assert!(began.elapsed() < READY_MAX, "containerd does not die");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = as_root("rm").arg("-f").arg(pid_file).status();
    }

    fn signal(&self, signal: &str) {
        if let Ok(pid) = std::fs::read_to_string(self.path().join("pid")) {
            let _ = as_root("kill").args(["-s", signal, pid.trim()]).status();
        }
    }

    fn reap(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
    }

    /// The docker command on this engine.
    pub fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect(HINT)
    }

    /// What the docker command writes, line by line.
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let out = self.docker(arguments);
        assert!(out.status.success(), "{arguments:?}: {out:?}");
        let text = String::from_utf8_lossy(&out.stdout);
        text.lines().map(str::to_owned).collect()
    }

    /// Names of all containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.lines(&["ps", "--all", "--format", "{{.Names}}"])
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn runtime(&self, owner: &str) -> DockerRuntime {
        DockerRuntime::new(Settings {
            socket: Some(self.socket()),
            owner: owner.to_owned(),
            network: DEFAULT_NETWORK.to_owned(),
        })
    }

    /// A folder with the mirror as a static program.
    pub fn mirror_folder(&self) -> PathBuf {
        let folder = self.path().join("mirror");
        std::fs::create_dir_all(&folder).expect("make a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mirror.c");
        let built = Command::new("gcc")
            .args(["-static", "-O1", "-o"])
            .arg(folder.join("mirror"))
            .arg(source)
            .output()
            .expect(HINT);
        assert!(built.status.success(), "{built:?}; {HINT}");
        folder
    }

    pub fn mirror(&self) -> Image {
        image(self.mirror_folder(), &["mirror"])
    }
}

pub fn image(folder: PathBuf, command: &[&str]) -> Image {
    Image {
        kind: "mirror".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:mirror".to_owned(),
        folder,
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        runtimes: vec![RuntimeDecl {
            name: "docker".to_owned(),
            archive: None,
            component: None,
        }],
        resources: Resources {
            memory_mb: 64,
            cpus: 64.0,
            processes: 32,
        },
        slots: 1,
    }
}

/// A group of the one who tests, so that the socket is theirs.
fn own_group() -> String {
    let group = Command::new("id").arg("-gn").output().expect("id");
    String::from_utf8_lossy(&group.stdout).trim().to_owned()
}

fn as_root(program: &str) -> Command {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("proc"));
    if uid == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.signal("TERM");
        self.reap();
        // What a killed daemon left behind names this folder on its command line.
        let own = self.path().display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read_to_string(process.path().join("cmdline"));
            if line.is_ok_and(|line| line.contains(&own)) {
                let pid = process.file_name();
                let _ = as_root("kill").args(["-s", "KILL"]).arg(pid).status();
            }
        }
        // The daemon leaves mounts behind: the network of the host, and all of its containers when it was killed.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            let _ = as_root("umount").args(["--lazy", point]).status();
        }
        let _ = as_root("rm")
            .args(["-rf", "--one-file-system"])
            .arg(self.path())
            .status();
    }
}
