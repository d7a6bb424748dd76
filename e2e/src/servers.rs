//! Servers that nobody here wrote, each on a free port with data of its own, gone with the test that started it.

use crate::until;
use sengu_testing::free_port;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// RabbitMQ needs 6 s alone, and more beside others.
const START_MAX: Duration = Duration::from_secs(120);

/// A server that can be killed and started again on what it has kept.
pub struct Server {
    pub port: u16,
    folder: TempDir,
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    /// What it needs beside it.
    beside: Vec<Child>,
}

fn program(name: &str, places: &[&str]) -> String {
    let found = places.iter().map(|p| Path::new(p).join(name));
    let found = found.filter(|p| p.is_file()).max();
    let found = found.unwrap_or_else(|| panic!("no {name}: run `cargo xtask test`"));
    found.display().to_string()
}

impl Server {
    fn new(words: impl FnOnce(&Path, u16) -> Vec<String>) -> Server {
        let folder = tempfile::Builder::new().prefix("sengu-e2e-").tempdir();
        let folder = folder.expect("a temporary directory");
        // Some servers run as a user of their own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let words = words(folder.path(), port);
        Server {
            port,
            folder,
            words,
            environment: Vec::new(),
            child: None,
            beside: Vec::new(),
        }
    }

    pub fn nats() -> Server {
        let mut server = Server::new(|folder, port| {
            let config = format!(
                "listen: 127.0.0.1:{port}\nmax_payload: 8MB\njetstream {{ store_dir: \"{}\" }}\n",
                folder.join("data").display()
            );
            fs::write(folder.join("nats.conf"), config).unwrap();
            let conf = folder.join("nats.conf").display().to_string();
            vec![
                program("nats-server", &["/usr/sbin", "/usr/bin"]),
                "-c".to_owned(),
                conf,
            ]
        });
        server.begin();
        server
    }

    pub fn mosquitto() -> Server {
        let mut server = Server::new(|folder, port| {
            let data = folder.join("data");
            fs::create_dir(&data).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
            let config = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 1000\n\
                 max_queued_messages 0\nset_tcp_nodelay true\npersistence true\n\
                 persistence_location {}/\n",
                data.display()
            );
            fs::write(folder.join("mosquitto.conf"), config).unwrap();
            let conf = folder.join("mosquitto.conf").display().to_string();
            vec![
                program("mosquitto", &["/usr/sbin", "/usr/bin"]),
                "-c".to_owned(),
                conf,
            ]
        });
        server.begin();
        server
    }

    pub fn rabbitmq() -> Server {
        let mut server =
            Server::new(|_, _| vec!["/usr/lib/rabbitmq/bin/rabbitmq-server".to_owned()]);
        let at = |name: &str| server.folder.path().join(name).display().to_string();
        fs::create_dir(at("log")).unwrap();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlog.file.level = warning\n",
            server.port
        );
        fs::write(at("rabbitmq.conf"), config).unwrap();
        let (epmd, dist) = (free_port(), free_port());
        server.environment = vec![
            ("HOME", at("")),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("RABBITMQ_NODENAME", format!("t{}@localhost", server.port)),
            ("RABBITMQ_DIST_PORT", dist.to_string()),
            ("RABBITMQ_MNESIA_BASE", at("mnesia")),
            ("RABBITMQ_LOG_BASE", at("log")),
            ("RABBITMQ_PID_FILE", at("pid")),
            ("RABBITMQ_CONFIG_FILE", at("rabbitmq")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins")),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none".to_owned(),
            ),
            // It takes the place of the script, so that a signal to it is one to the server.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ];
        // One of its own, so that one that the system runs is never touched.
        let words = ["epmd", "-port", &epmd.to_string(), "-address", "127.0.0.1"];
        let beside = server.spawn(&words.map(str::to_owned));
        server.beside.push(beside);
        server.begin();
        server
    }

    pub fn postgres() -> Server {
        let mut server = Server::new(postgres::words);
        let data = server.postgres_data();
        let words = ["-A", "trust", "-U", "sengu", "--no-sync", "-D", &data];
        postgres::run("initdb", &words);
        server.begin();
        server
    }

    /// A PostgreSQL that reads and follows `primary`, whose commits wait for it from then on.
    pub fn standby_of(primary: &Server) -> Server {
        let mut server = Server::new(postgres::words);
        server.follow(primary);
        server
    }

    /// Makes it a standby of `primary` with nothing left of what it had. It must not run.
    ///
    /// # Panics
    /// When it does not follow.
    pub fn follow(&mut self, primary: &Server) {
        primary.answers();
        let data = self.postgres_data();
        postgres::empty(Path::new(&data));
        let port = primary.port.to_string();
        let words = ["-h", "127.0.0.1", "-p", &port, "-U", "sengu", "-D", &data];
        let more = ["-R", "-X", "stream", "-c", "fast", "--no-sync"];
        postgres::run("pg_basebackup", &[&words[..], &more].concat());
        self.begin();
        primary.waits_for("*");
        until("the standby follows", START_MAX, || {
            let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            (primary.sql(follows) == "1").then_some(())
        });
    }

    /// Makes a standby the primary, as whoever runs the failover does: it has no standby yet to wait for.
    pub fn promote(&self) {
        let words = ["promote", "-w", "-t", "120", "-D"];
        postgres::run("pg_ctl", &[&words[..], &[&self.postgres_data()]].concat());
        self.waits_for("");
    }

    /// Waits until a PostgreSQL that was started answers.
    pub fn answers(&self) {
        let port = self.port.to_string();
        let words = ["-h", "127.0.0.1", "-p", &port];
        until("PostgreSQL answers", START_MAX, || {
            postgres::try_run("pg_isready", &words).ok()
        });
    }

    /// Has a standby hear nothing more of its primary.
    pub fn hears_nothing(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''");
        self.sql("SELECT pg_reload_conf()");
        until("the standby hears nothing", START_MAX, || {
            (self.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0").then_some(())
        });
    }

    /// The standbys that commits of a PostgreSQL wait for, as `synchronous_standby_names`.
    pub fn waits_for(&self, standbys: &str) {
        self.sql(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"
        ));
        self.sql("SELECT pg_reload_conf()");
    }

    /// Asks a PostgreSQL.
    pub fn sql(&self, sql: &str) -> String {
        let port = self.port.to_string();
        let words = ["-h", "127.0.0.1", "-p", &port, "-U", "sengu", "-XAtc", sql];
        let said = postgres::run("psql", &[&words[..], &["postgres"]].concat());
        said.trim().to_owned()
    }

    fn postgres_data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn spawn(&self, words: &[String]) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .unwrap();
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(words)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the server starts")
    }

    /// Starts it on whatever it has kept, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn begin(&mut self) {
        let mut child = self.spawn(&self.words);
        let log = self.folder.path().join("server.log");
        until("the server takes connections", START_MAX, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("it ended with {status}: {:?}", fs::read_to_string(&log));
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        self.child = Some(child);
    }

    /// As a power cut.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        // PostgreSQL's children see that it is gone and end by themselves.
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs `rabbitmqctl` on a RabbitMQ.
    ///
    /// # Panics
    /// When it fails.
    pub fn control(&self, words: &[&str]) {
        let ran = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
            .args(words)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{words:?}: {ran:?}");
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.child.iter_mut().chain(&mut self.beside) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The programs of PostgreSQL, which refuse to run as root.
mod postgres {
    use super::program;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Output};

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn as_user(name: &str) -> Vec<String> {
        let versions: Vec<String> = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL: run `cargo xtask test`")
            .map(|v| v.unwrap().path().join("bin").display().to_string())
            .collect();
        let places: Vec<&str> = versions.iter().map(String::as_str).collect();
        let user = [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
        ];
        let user = user.iter().filter(|_| is_root()).map(|w| (*w).to_owned());
        user.chain([program(name, &places)]).collect()
    }

    /// How the server is started on an empty folder for its data, its user's own.
    pub fn words(folder: &Path, port: u16) -> Vec<String> {
        let data = folder.join("data");
        empty(&data);
        let data = data.display().to_string();
        let port = port.to_string();
        let more = ["-D", &data, "-h", "127.0.0.1", "-k", "", "-p", &port];
        let mut words = as_user("postgres");
        words.extend(more.map(str::to_owned));
        words
    }

    pub fn empty(data: &Path) {
        if data.exists() {
            fs::remove_dir_all(data).unwrap();
        }
        fs::create_dir(data).unwrap();
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            let own = Command::new("chown").arg("postgres").arg(data).status();
            assert!(own.unwrap().success());
        }
    }

    /// Gives what it prints.
    pub fn run(name: &str, words: &[&str]) -> String {
        try_run(name, words).unwrap_or_else(|ran| panic!("{name} {words:?}: {ran:?}"))
    }

    pub fn try_run(name: &str, words: &[&str]) -> Result<String, Output> {
        let program = as_user(name);
        let ran = Command::new(&program[0])
            .args(&program[1..])
            .args(words)
            // Not a folder that its user may not see.
            .current_dir("/")
            .output()
            .unwrap();
        match ran.status.success() {
            true => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
            false => Err(ran),
        }
    }
}

/// Follows topics with a client that nobody here wrote, and gathers what it prints, a line each.
pub struct Follower {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Follower {
    /// `mosquitto_sub` on a port of this machine, as `topic body`.
    pub fn mosquitto_sub(port: u16, topic: &str, password: Option<&str>) -> Follower {
        use std::io::BufRead as _;
        let mut command = Command::new("mosquitto_sub");
        command
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-t", topic, "-F", "%t %p"]);
        if let Some(password) = password {
            command.args(["-u", "anybody", "-P", password]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("mosquitto_sub: run `cargo xtask test`");
        let (sender, lines) = std::sync::mpsc::channel();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Follower { child, lines }
    }

    /// The next line, if one comes within `limit`.
    pub fn try_next(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// The next line.
    ///
    /// # Panics
    /// When none comes within `limit`.
    pub fn next(&self, limit: Duration) -> String {
        self.lines.recv_timeout(limit).expect("an event in time")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
