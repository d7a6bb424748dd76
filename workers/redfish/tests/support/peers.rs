//! Servers that nobody here wrote: sushy-tools' emulator under gunicorn, and HAProxy. Each on its own port, in its own
//! folder, ended by its pid.

use rcgen::{CertificateParams, KeyPair};
use sengu_sdk::TargetFrame;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A child that ends with the test.
pub struct Peer {
    child: Child,
    pub port: u16,
    /// The CA that signed its certificate.
    pub ca: String,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // gunicorn's master ends its workers on TERM only.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn need(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask test`",
        path.display()
    );
    path
}

fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    folder.canonicalize().expect("the workspace is there")
}

pub fn system_id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// sushy's fake driver with `systems` systems, all off, over TLS; `account` as `name:bcrypt`.
pub fn sushy(systems: u32, account: Option<&str>) -> Peer {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let ca = write_certificates(folder.path());
    let list: Vec<Value> = (1..=systems)
        .map(|n| {
            json!({
                "uuid": system_id(n), "name": format!("node-{n}"), "power_state": "Off",
                "external_notifier": 0, "nics": [],
            })
        })
        .collect();
    let mut config = format!(
        "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_STATE_DIR = {:?}\nSUSHY_EMULATOR_FAKE_SYSTEMS = {}\n",
        folder.path(),
        Value::Array(list)
    );
    if let Some(account) = account {
        fs::write(at("accounts"), account).expect("written");
        config += &format!("SUSHY_EMULATOR_AUTH_FILE = {:?}\n", at("accounts"));
    }
    fs::write(at("sushy.conf"), config).expect("written");
    let gunicorn = need(workspace().join("target/test-venv/bin/gunicorn"));
    need(workspace().join("target/test-venv/bin/sushy-emulator"));
    let mut child = Command::new(gunicorn)
        .args([
            "--bind",
            "127.0.0.1:0",
            "--worker-class",
            "gthread",
            "--threads",
            "8",
        ])
        .args(["--keep-alive", "30", "--no-control-socket", "--certfile"])
        .arg(at("leaf.pem"))
        .arg("--keyfile")
        .arg(at("key.pem"))
        .arg("sushy_tools.emulator.main:app")
        .env("SUSHY_EMULATOR_CONFIG", at("sushy.conf"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gunicorn starts");
    let stderr = child.stderr.take().expect("piped");
    let (found, port) = channel();
    let (noise, said) = channel();
    std::thread::spawn(move || {
        // Read to the end, or the server stops at a full pipe.
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let port = line.split_once("Listening at: ").and_then(|(_, rest)| {
                rest.split_once("127.0.0.1:")?
                    .1
                    .split(' ')
                    .next()?
                    .parse::<u16>()
                    .ok()
            });
            let _ = noise.send(line);
            if let Some(port) = port {
                let _ = found.send(port);
            }
        }
    });
    let port = port
        .recv_timeout(Duration::from_secs(60))
        .unwrap_or_else(|_| {
            let said: Vec<String> = said.try_iter().collect();
            panic!("gunicorn listens within 60 s: {said:?}")
        });
    Peer {
        child,
        port,
        ca,
        _folder: folder,
    }
}

/// A CA, and a leaf of it for 127.0.0.1.
fn write_certificates(folder: &Path) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("params");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("signed").pem();
    let issuer = rcgen::Issuer::new(ca, &ca_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
    let leaf = leaf.signed_by(&key, &issuer).expect("signed").pem();
    fs::write(folder.join("leaf.pem"), leaf).expect("written");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
    ca_pem
}

/// HAProxy in front of `backend`, by plain http: `refusal` percent of all requests get 503 with Retry-After.
pub fn haproxy(backend: u16, refusal: u32) -> Peer {
    let program = need(PathBuf::from("/usr/sbin/haproxy"));
    for _ in 0..10 {
        let folder = tempfile::tempdir().expect("a folder");
        let port = sengu_testing::free_port();
        let config = format!(
            "global\n maxconn 64\n\
             defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             frontend bmc\n bind 127.0.0.1:{port}\n\
             \x20http-request return status 503 content-type application/json string \"{{}}\" hdr Retry-After 1 if {{ rand(100) lt {refusal} }}\n\
             \x20default_backend sushy\n\
             backend sushy\n server one 127.0.0.1:{backend} ssl verify none maxconn 4\n"
        );
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, config).expect("written");
        let mut child = Command::new(&program)
            .args(["-db", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy starts");
        let ready = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        if ready && matches!(child.try_wait(), Ok(None)) {
            return Peer {
                child,
                port,
                ca: String::new(),
                _folder: folder,
            };
        }
        // Someone else took the port in between.
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("haproxy found no port in ten tries");
}

impl Peer {
    pub fn target(&self, scheme: &str, config: Value) -> TargetFrame {
        TargetFrame {
            name: "peer".to_owned(),
            address: format!("{scheme}://127.0.0.1:{}", self.port),
            config,
            identity: Default::default(),
        }
    }
}
