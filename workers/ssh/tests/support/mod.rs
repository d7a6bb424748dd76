//! A real sshd on a free loopback port, with its own configuration, keys and throw-away users.
//!
//! The user `sengu-test` is made once and kept, since tests run in many processes at once; everything else lives in
//! a temporary folder and ends with the test.

// Each test binary uses its part.
#![allow(dead_code)]

use sengu_sdk::testing::Instance;
use sengu_sdk::{FailureCode, Outcome};
use sengu_testing::free_port;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub type Target = sengu_sdk::TargetFrame;
pub type Secrets = BTreeMap<String, String>;

pub const LONG: Duration = Duration::from_secs(60);
const USER: &str = "sengu-test";
const PASSWORD: &str = "correct-horse-9";

pub struct Sshd {
    child: Child,
    pub dir: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; run `cargo xtask test`"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

/// As root: a user of our own with /bin/sh and a password. Otherwise: the current user, by key only.
fn user() -> (String, Option<String>) {
    if !is_root() {
        return (run("id", &["-un"]).trim().to_owned(), None);
    }
    // Tests run in processes side by side: the first makes the user, the others wait for it.
    let lock = std::fs::File::create("/tmp/sengu-ssh-test.lock").expect("lock file");
    lock.lock().expect("lock");
    let known = Command::new("id").arg(USER).output().expect("id");
    if !known.status.success() {
        run("useradd", &["--create-home", "--shell", "/bin/sh", USER]);
    }
    let set = format!("echo '{USER}:{PASSWORD}' | chpasswd");
    run("/bin/sh", &["-c", &set]);
    (USER.to_owned(), Some(PASSWORD.to_owned()))
}

impl Sshd {
    pub fn start() -> Sshd {
        Sshd::start_with("MaxStartups 200")
    }

    /// Starts sshd with `options` added to its configuration, and waits until it answers.
    pub fn start_with(options: &str) -> Sshd {
        assert!(
            Path::new("/usr/sbin/sshd").exists(),
            "no /usr/sbin/sshd: run `cargo xtask test`"
        );
        let (user, password) = user();
        if is_root() {
            std::fs::create_dir_all("/run/sshd").expect("privilege separation folder");
        }
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for (kind, name) in [
            ("ed25519", "host_ed25519"),
            ("ecdsa", "host_ecdsa"),
            ("ed25519", "user"),
        ] {
            run(
                "ssh-keygen",
                &["-q", "-t", kind, "-N", "", "-f", &path(name)],
            );
        }
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "rsa",
                "-b",
                "2048",
                "-N",
                "sesame",
                "-f",
                &path("user_rsa"),
            ],
        );
        let keys = ["user.pub", "user_rsa.pub"]
            .map(|name| std::fs::read_to_string(path(name)).expect("key"));
        std::fs::write(path("authorized"), keys.concat()).expect("keys");
        let strict = if is_root() { "yes" } else { "no" };
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nPidFile none\nUsePAM no\n\
                 AuthorizedKeysFile {}\nStrictModes no\nPasswordAuthentication {strict}\nLogLevel VERBOSE\n\
                 KbdInteractiveAuthentication no\nPrintMotd no\n{options}\n",
                path("host_ed25519"),
                path("host_ecdsa"),
                path("authorized"),
            );
            std::fs::write(path("config"), config).expect("config");
            let log = std::fs::File::create(path("log")).expect("log");
            let child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f", &path("config")])
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("sshd starts");
            let (user, password) = (user.clone(), password.clone());
            let mut sshd = Sshd {
                child,
                dir: tempfile::tempdir().expect("a folder"),
                port,
                user,
                password,
            };
            if sshd.answers() {
                sshd.dir = dir;
                return sshd;
            }
        }
        panic!(
            "sshd does not start: {}",
            std::fs::read_to_string(path("log")).unwrap_or_default()
        );
    }

    fn answers(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.child.try_wait().expect("our child").is_some() {
                return false; // the port was taken meanwhile
            }
            if let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", self.port)) {
                let _ = tcp.set_read_timeout(Some(Duration::from_secs(10)));
                let mut greeting = [0; 4];
                if tcp.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-" {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Has sshd read its keys and certificates again, and waits until it listens anew.
    pub fn reload(&mut self) {
        let listened = |sshd: &Sshd| sshd.log().matches("Server listening on").count();
        let before = listened(self);
        run("kill", &["-HUP", &self.child.id().to_string()]);
        let end = Instant::now() + LONG;
        while listened(self) == before {
            assert!(Instant::now() < end, "sshd does not reload: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.answers(), "sshd answers after a reload");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        self.read("log")
    }

    pub fn host_key(&self) -> String {
        self.read("host_ed25519.pub").trim().to_owned()
    }

    pub fn fingerprint(&self, key: &str) -> String {
        let path = self.path(key);
        let line = run("ssh-keygen", &["-l", "-f", &path.to_string_lossy()]);
        line.split_whitespace()
            .nth(1)
            .expect("a fingerprint")
            .to_owned()
    }

    /// A folder that the test's user may write to.
    pub fn work(&self) -> PathBuf {
        let work = self.path("work");
        std::fs::create_dir_all(&work).expect("folder");
        std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o777)).expect("mode");
        work
    }

    pub fn target(&self) -> Target {
        self.target_named("h1", &self.host_key(), json!({}))
    }

    pub fn target_named(&self, name: &str, host_key: &str, config: Value) -> Target {
        let identity = match host_key {
            "" => BTreeMap::new(),
            key => BTreeMap::from([("hostKey".to_owned(), key.to_owned())]),
        };
        Target {
            name: name.to_owned(),
            address: format!("127.0.0.1:{}", self.port),
            config,
            identity,
        }
    }

    pub fn by_key(&self) -> Secrets {
        BTreeMap::from([
            ("username".to_owned(), self.user.clone()),
            ("privateKey".to_owned(), self.read("user")),
        ])
    }

    pub fn by_password(&self, password: &str) -> Secrets {
        BTreeMap::from([
            ("username".to_owned(), self.user.clone()),
            ("password".to_owned(), password.to_owned()),
        ])
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn worker() -> Instance {
    Instance::start(
        env!("CARGO_BIN_EXE_sengu-worker-ssh"),
        env!("CARGO_MANIFEST_DIR"),
    )
}

/// The code of a failure, or the status of any other outcome.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Failed(f) => f.code.as_str(),
        other => other.status().as_str(),
    }
}

pub fn message(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(f) => f.message.clone(),
        Outcome::Unknown { why } | Outcome::Cancelled { why } | Outcome::Expired { why } => {
            why.clone()
        }
        Outcome::Done(_) => String::new(),
    }
}

pub fn result(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done(done) => done.result.clone().unwrap_or_default(),
        Outcome::Failed(f) if f.code == FailureCode::Refused => {
            f.detail.clone().unwrap_or_default()
        }
        other => panic!("no result: {other:?}"),
    }
}
