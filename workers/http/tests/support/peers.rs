//! Servers that nobody here wrote: nginx and a Prometheus exporter. Each on its own ports, in its own folder, ended by
//! its pid.

use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{CertificateParams, KeyPair};
use sengu_sdk::TargetFrame;
use sengu_testing::free_port;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A child that ends with the test.
pub struct Peer {
    child: Child,
    pub port: u16,
    pub tls_port: u16,
    /// The CA that signed its certificate.
    pub ca: String,
    pub folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx's master ends its workers on QUIT and TERM only.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    pub fn target(&self, scheme: &str, config: Value) -> TargetFrame {
        let port = if scheme == "https" {
            self.tls_port
        } else {
            self.port
        };
        TargetFrame {
            name: "peer".to_owned(),
            address: format!("{scheme}://127.0.0.1:{port}"),
            config,
            identity: Default::default(),
        }
    }

    /// What stands in the server's log of requests.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    /// The numbers of the connections that requests came by.
    pub fn connections(&self) -> std::collections::BTreeSet<String> {
        let log = self.log();
        let first = log.lines().filter_map(|line| line.split(' ').next());
        first.map(str::to_owned).collect()
    }
}

fn need(path: &str) -> PathBuf {
    let path = PathBuf::from(path);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask test`",
        path.display()
    );
    path
}

/// Starts `command` until it listens on `port`; none when someone else took the port in between.
fn started(command: &mut Command, port: u16) -> Option<Child> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    for _ in 0..400 {
        std::thread::sleep(Duration::from_millis(50));
        if !matches!(child.try_wait(), Ok(None)) {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(child);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
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

/// Operator with the password "sesame-open".
const ACCOUNTS: &str = "operator:{PLAIN}sesame-open\n";

/// nginx with files, redirects, Basic authentication, a rate limit, a gzip bomb and upload by PUT.
pub fn nginx() -> Peer {
    let program = need("/usr/sbin/nginx");
    for _ in 0..10 {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let ca = write_certificates(folder.path());
        fs::create_dir_all(at("www/api")).expect("made");
        fs::create_dir_all(at("www/store")).expect("made");
        fs::write(at("www/store/mode"), "{\"mode\": \"auto\"}").expect("written");
        // Its workers run as another user when the master is root.
        open_to_all(folder.path());
        open_to_all(&at("www/store"));
        let status = "{\"vendor\": \"Acme\", \"model\": \"PX-2\", \"power\": {\"mW\": 1500}, \
                      \"fans\": [{\"id\": \"f0\", \"rpm\": 5400}, {\"id\": \"f1\", \"rpm\": 5600}]}";
        fs::write(at("www/api/status.json"), status).expect("written");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let chunk = vec![b' '; 1 << 20];
        for _ in 0..64 {
            gzip.write_all(&chunk).expect("compressed");
        }
        fs::write(at("www/bomb.json.gz"), gzip.finish().expect("compressed")).expect("written");
        fs::write(at("accounts"), ACCOUNTS).expect("written");
        let (port, tls_port) = (free_port(), free_port());
        let root = folder.path().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
             log_format short '$connection \"$request\"'; access_log {root}/access.log short;\n\
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
             types {{ application/json json; text/html html; }} default_type application/json;\n\
             gzip on; gzip_types application/json; gzip_min_length 1;\n\
             server {{\n\
             listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl;\n\
             ssl_certificate {root}/leaf.pem; ssl_certificate_key {root}/key.pem;\n\
             root {root}/www;\n\
             absolute_redirect off;\n\
             location /moved {{ return 301 /api/status.json; }}\n\
             location /away {{ return 302 https://elsewhere.invalid/login?state=abc; }}\n\
             location /loop {{ return 307 /loop; }}\n\
             location /http {{ return 301 http://$host:{port}/api/status.json; }}\n\
             location /page {{ default_type text/html; return 200 \"<html>log in</html>\"; }}\n\
             location /bomb.json {{ gzip off; add_header Content-Encoding gzip; alias {root}/www/bomb.json.gz; }}\n\
             location /later {{ add_header Retry-After 17 always; return 503; }}\n\
             location /drop {{ return 444; }}\n\
             location /secured/ {{ auth_basic plant; auth_basic_user_file {root}/accounts; alias {root}/www/; }}\n\
             location /accept {{ return 202; }}\n\
             location /store/ {{ gzip off; dav_methods PUT DELETE; dav_access user:rw all:rw; }}\n\
             }} }}\n"
        );
        fs::write(at("nginx.conf"), config).expect("written");
        let mut command = Command::new(&program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(at("nginx.conf"));
        command.args(["-e", "stderr"]);
        if let Some(child) = started(&mut command, port) {
            return Peer {
                child,
                port,
                tls_port,
                ca,
                folder,
            };
        }
    }
    panic!("nginx found no ports in ten tries");
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
}

/// Prometheus' node exporter.
pub fn exporter() -> Peer {
    let program = need("/usr/bin/prometheus-node-exporter");
    for _ in 0..10 {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut command = Command::new(&program);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.args([
            "--collector.disable-defaults",
            "--collector.loadavg",
            "--collector.uname",
        ]);
        command.args([
            "--collector.meminfo",
            "--collector.cpu",
            "--collector.time",
            "--collector.textfile",
        ]);
        command.arg(format!(
            "--collector.textfile.directory={}",
            folder.path().display()
        ));
        fs::write(
            folder.path().join("a.prom"),
            "plant_note{text=\"a \\\"b\\\" \\\\ c\"} 1\n",
        )
        .expect("written");
        if let Some(child) = started(&mut command, port) {
            return Peer {
                child,
                port,
                tls_port: 0,
                ca: String::new(),
                folder,
            };
        }
    }
    panic!("the exporter found no port in ten tries");
}
