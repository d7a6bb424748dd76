//! A private PostgreSQL for a test binary: on a free port, with data of its own, gone with the process.
#![allow(dead_code)] // each test binary uses a part

use sengu_store::{Op, Store, StoreError};
use sengu_store_postgres::{PostgresStore, Settings};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// Nothing may take longer, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);
const PREFIX: &str = "sengu-postgres-test-";

pub struct Server {
    pub place: PathBuf,
    pub port: u16,
    options: Vec<String>,
    child: Mutex<Option<Child>>,
}

/// The server of this test binary.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[]))
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed: apt install postgresql")
        .map(|version| version.expect("a version").path().join("bin"))
        .filter(|programs| programs.join("postgres").exists())
        .collect();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is installed: apt install postgresql")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The server refuses to run as root.
fn as_its_user(program: &str) -> Command {
    let program = programs().join(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--pdeathsig=KILL",
        ])
        .arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// What earlier test processes have left.
fn sweep() {
    for left in std::fs::read_dir("/tmp")
        .expect("a folder for temporary files")
        .flatten()
    {
        let name = left.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
}

impl Server {
    /// With a certificate of its own.
    pub fn start_tls(certificate: &str, key: &str) -> Server {
        Server::start_with(&["-c", "ssl=on"], |data| {
            let key_file = data.join("server.key");
            std::fs::write(data.join("server.crt"), certificate).expect("a certificate");
            std::fs::write(&key_file, key).expect("a key");
            run(Command::new("chmod").arg("600").arg(&key_file));
            if is_root() {
                run(Command::new("chown").arg("postgres").arg(&key_file));
            }
        })
    }

    pub fn start(options: &[&str]) -> Server {
        Server::start_with(options, |_| {})
    }

    /// A folder and a free port.
    fn prepare(options: &[&str]) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = PathBuf::from(format!("/tmp/{PREFIX}{}-{number}", std::process::id()));
        std::fs::create_dir(&place).expect("a folder");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&place));
        }
        Server {
            place,
            port: sengu_testing::free_port(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            child: Mutex::new(None),
        }
    }

    fn start_with(options: &[&str], prepare: impl FnOnce(&Path)) -> Server {
        let server = Server::prepare(options);
        let place = &server.place;
        run(as_its_user("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(place.join("data")));
        // One user must give a password; the others are let in.
        let rules = "host all guarded all scram-sha-256\nhost all,replication all all trust\n";
        std::fs::write(place.join("data/pg_hba.conf"), rules).expect("rules");
        prepare(&place.join("data"));
        server.resume();
        server
    }

    /// A standby of this server, which reads and follows it.
    pub fn standby(&self) -> Server {
        let standby = Server::prepare(&[]);
        run(as_its_user("pg_basebackup")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-X", "stream", "-c", "fast", "-R"])
            .args(["--no-sync", "-D"])
            .arg(standby.place.join("data")));
        standby.resume();
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        run(as_its_user("pg_ctl")
            .args(["promote", "-w", "-t", "60", "-D"])
            .arg(self.place.join("data")));
    }

    /// Changes the configuration of the running server.
    pub async fn set(&self, key: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {key} = '{value}'"))
            .await;
        self.sql("SELECT pg_reload_conf()").await;
        let until = Instant::now() + LIMIT;
        while self.sql(&format!("SHOW {key}")).await != [value] {
            assert!(Instant::now() < until, "{key} is {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the program on the data that is there.
    pub fn resume(&self) {
        let until = Instant::now() + LIMIT;
        loop {
            let mut command = as_its_user("postgres");
            command
                .arg("-D")
                .arg(self.place.join("data"))
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", ""])
                .args([
                    "-c",
                    "fsync=off",
                    "-c",
                    "shared_buffers=64MB",
                    "-c",
                    "max_connections=100",
                ])
                .args(&self.options)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(self.place.join("log")).expect("a log"));
            let mut child = spawn(command);
            while child.try_wait().expect("its state").is_none() {
                let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
                if log.contains("ready to accept") {
                    *self.child.lock().expect("no panic") = Some(child);
                    return;
                }
                assert!(Instant::now() < until, "the server starts");
                std::thread::sleep(Duration::from_millis(20));
            }
            // Processes of the life before may still hold its memory.
            let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server starts: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the program at once, as a power cut would.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("no panic").take() {
            child.kill().expect("it is ours");
            child.wait().expect("it ended");
        }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Settings for a schema of its own.
    pub fn settings(&self) -> Settings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Settings {
            url: self.url(),
            password: None,
            ca_pem: None,
            schema: format!("s{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            connections_max: 4,
        }
    }

    pub async fn sql(&self, sql: &str) -> Vec<String> {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls)
            .await
            .expect("connect");
        let connection = tokio::spawn(connection);
        let mut cells = Vec::new();
        for message in client.simple_query(sql).await.expect(sql) {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                cells.push(row.get(0).unwrap_or_default().to_owned());
            }
        }
        drop(client);
        let _ = connection.await;
        cells
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// A child dies with the thread that has started it, so this is one that stays.
fn spawn(mut command: Command) -> Child {
    let (reply, child) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = reply.send(command.spawn().expect("the program starts"));
        loop {
            std::thread::park();
        }
    });
    child.recv().expect("started")
}

pub async fn open(settings: &Settings) -> PostgresStore {
    PostgresStore::open(settings.clone()).await.expect("open")
}

/// Repeats a commit for as long as nothing of it was applied.
pub async fn insist(store: &dyn Store, ops: Vec<Op>) -> sengu_store::Committed {
    let until = Instant::now() + LIMIT;
    loop {
        match store.commit(ops.clone().into()).await {
            Ok(done) => return done,
            Err(StoreError::Unavailable(_)) if Instant::now() < until => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub fn put(name: &str) -> Op {
    Op::PutRecord {
        kind: "Target".into(),
        name: name.into(),
        uid: sengu_model::Uid(1),
        expect: sengu_store::Expect::Anything,
        body: "x".into(),
    }
}

pub fn append(stream: &str, body: &str) -> Op {
    Op::Append {
        stream: stream.into(),
        key: 1,
        at: sengu_model::Time(0),
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub fn insert(id: u64) -> Op {
    Op::InsertTask(sengu_store::NewTask {
        id: sengu_model::TaskId(id),
        target: sengu_model::Uid(1 + id % 7),
        run: None,
        priority: sengu_model::task::Priority::People,
        batch: 0,
        line: 0,
        body: "body".into(),
    })
}
