//! The pipeline on real engines: the same durable no-op tasks as `pipeline`, over each broker and on PostgreSQL, each
//! beside what the engine's own client does in the same run.

use super::pipeline;
use crate::Bench;
use crate::report::{Report, Wanted};
use crate::server::Server;
use crate::servers::{Process, free_port, listens, program};
use crate::targets;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const TARGETS: usize = 1_000;
const NATS: &str = "/usr/sbin/nats-server";

/// An engine that runs, and how sengu is told of it.
struct Engine {
    name: &'static str,
    config: String,
    /// The package of the example that prints the raw rate, and the address that it wants.
    raw: Option<(&'static str, Option<String>)>,
    wanted: Wanted,
    /// The same beside the raw rate.
    beside_raw: Wanted,
    // Ended in this order.
    _processes: Vec<Process>,
}

type Start = fn(&Bench) -> Result<Engine, String>;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let engines: [Start; 4] = [nats, mqtt, rabbitmq, postgres];
    let n = bench.size(100_000, 10_000);
    for start in engines {
        let engine = match start(bench) {
            Ok(engine) => engine,
            Err(why) => {
                report.not_run("tasks over an engine", Wanted::Nothing, "/s", &why);
                continue;
            }
        };
        let name = format!("sengu-noop-{}", engine.name);
        let per_s = load(bench, &engine, report, &name, n)
            .with_context(|| format!("tasks over {}", engine.name))?;
        let figure = format!("durable no-op tasks, {}", engine.name);
        report.figure(&figure, engine.wanted, per_s, "/s");
        if let Some((package, address)) = &engine.raw {
            let rates = raw(report, package, address.as_deref());
            let figure = format!(
                "the same beside what the client of {} does by itself",
                engine.name
            );
            match rates.iter().copied().reduce(f64::max) {
                Some(most) => report.figure(&figure, engine.beside_raw, per_s / most, "x"),
                None => report.not_run(&figure, engine.beside_raw, "x", "no raw rate"),
            }
        }
    }
    Ok(())
}

fn load(bench: &Bench, engine: &Engine, report: &mut Report, name: &str, n: usize) -> Result<f64> {
    let server = Server::start_with(bench, Some(&engine.config))?;
    targets::apply_echo(&server, TARGETS)?;
    let noop = pipeline::load(&server, report, name, "noop", n)?;
    report.complaints(&server.complaints());
    Ok(noop.per_s)
}

/// What the engine's client does by itself, in the lines of the driver's own example; the rates that they tell.
fn raw(report: &mut Report, package: &str, address: Option<&str>) -> Vec<f64> {
    let mut rates = Vec::new();
    let broker = package.trim_start_matches("sengu-broker-");
    let example = format!("{broker}_rate");
    let ran = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--package", package])
        .args(["--example", &example, "--"])
        .args(address)
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {
            for line in String::from_utf8_lossy(&ran.stdout).lines() {
                report.raw(line);
                // "..., raw 12345/s, ..."
                let rate = line
                    .split_once("raw ")
                    .and_then(|(_, rest)| rest.split_once("/s"));
                rates.extend(rate.and_then(|(rate, _)| rate.parse::<f64>().ok()));
            }
        }
        Ok(ran) => report.raw(&format!(
            "{package}: {}",
            String::from_utf8_lossy(&ran.stderr)
        )),
        Err(error) => report.raw(&format!("{package}: {error}")),
    }
    rates
}

fn folder(bench: &Bench, name: &str) -> Result<std::path::PathBuf> {
    let path = bench.scratch.join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    Ok(path)
}

fn begin(what: &str, command: &mut Command, port: u16) -> Result<Process> {
    let mut process = Process::start(command.stderr(std::process::Stdio::null()))?;
    process.wait_for(what, || listens(port))?;
    Ok(process)
}

fn told<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|e| format!("{e:#}"))
}

/// A NATS with JetStream that can go and come back on what it has kept.
pub struct Nats {
    port: u16,
    conf: std::path::PathBuf,
    process: Process,
}

impl Nats {
    pub fn start(bench: &Bench) -> Result<Nats, String> {
        program(NATS, "apt install nats-server")?;
        told((|| {
            let (port, folder) = (free_port()?, folder(bench, "nats")?);
            let config = format!(
                "listen: 127.0.0.1:{port}\nmax_payload: 8MB\njetstream {{ store_dir: \"{}\" }}\n",
                folder.display()
            );
            let conf = folder.join("nats.conf");
            fs::write(&conf, config)?;
            let process = Nats::run(&conf, port)?;
            Ok(Nats {
                port,
                conf,
                process,
            })
        })())
    }

    fn run(conf: &Path, port: u16) -> Result<Process> {
        begin("nats-server", Command::new(NATS).arg("-c").arg(conf), port)
    }

    pub fn stop(&mut self) {
        self.process.stop();
    }

    pub fn begin(&mut self) -> Result<()> {
        self.process = Nats::run(&self.conf, self.port)?;
        Ok(())
    }

    fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What sengu is told of it.
    pub fn config(&self) -> String {
        format!("[interconnect]\nurl = \"{}\"\n", self.address())
    }
}

fn nats(bench: &Bench) -> Result<Engine, String> {
    let nats = Nats::start(bench)?;
    Ok(Engine {
        name: "NATS",
        config: nats.config(),
        // On a server of its own.
        raw: Some(("sengu-broker-nats", None)),
        wanted: Wanted::AtLeast(8_000.0),
        beside_raw: Wanted::Nothing,
        _processes: vec![nats.process],
    })
}

fn mosquitto(bench: &Bench, name: &str) -> Result<(Process, u16)> {
    let (port, folder) = (free_port()?, folder(bench, name)?);
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 1000\n\
         max_queued_messages 0\nset_tcp_nodelay true\n"
    );
    let conf = folder.join("mosquitto.conf");
    fs::write(&conf, config)?;
    let mut command = Command::new("/usr/sbin/mosquitto");
    let server = begin("mosquitto", command.arg("-c").arg(conf), port)?;
    Ok((server, port))
}

fn mqtt(bench: &Bench) -> Result<Engine, String> {
    program("/usr/sbin/mosquitto", "apt install mosquitto")?;
    told((|| {
        let (server, port) = mosquitto(bench, "mosquitto")?;
        Ok(Engine {
            name: "MQTT (Mosquitto)",
            config: format!("[interconnect]\nurl = \"mqtt://127.0.0.1:{port}\"\n"),
            raw: None,
            wanted: Wanted::Nothing,
            beside_raw: Wanted::Nothing,
            _processes: vec![server],
        })
    })())
}

fn rabbitmq(bench: &Bench) -> Result<Engine, String> {
    let program = program(
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
        "apt install rabbitmq-server",
    )?;
    told((|| {
        let (port, dist, epmd) = (free_port()?, free_port()?, free_port()?);
        let folder = folder(bench, "rabbitmq")?;
        let at = |name: &str| folder.join(name);
        fs::create_dir(at("log"))?;
        fs::write(
            at("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{port}\n"),
        )?;
        let mut names = Command::new("epmd");
        names.args(["-port", &epmd.to_string(), "-address", "127.0.0.1"]);
        let names = begin("epmd", &mut names, epmd)?;
        let mut command = Command::new(program);
        command
            .env("HOME", &folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("RABBITMQ_NODENAME", format!("b{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", dist.to_string())
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RUNNING_UNDER_SYSTEMD", "true");
        let server = begin("rabbitmq-server", &mut command, port)?;
        let (mqtt, mqtt_port) = mosquitto(bench, "mosquitto-beside")?;
        let address = format!("amqp://localhost:{port}");
        Ok(Engine {
            name: "RabbitMQ + MQTT",
            config: format!(
                "[interconnect]\nurl = \"{address}\"\nresults = \"mqtt://127.0.0.1:{mqtt_port}\"\n"
            ),
            raw: Some(("sengu-broker-amqp", Some(address))),
            wanted: Wanted::Nothing,
            beside_raw: Wanted::AtLeast(0.5),
            _processes: vec![server, names, mqtt],
        })
    })())
}

/// A PostgreSQL of its own.
pub struct Postgres {
    port: u16,
    process: Process,
}

impl Postgres {
    pub fn start(bench: &Bench) -> Result<Postgres, String> {
        let programs = "/usr/lib/postgresql/15/bin";
        program(&format!("{programs}/postgres"), "apt install postgresql")?;
        told((|| {
            let (port, folder) = (free_port()?, folder(bench, "postgres")?);
            let data = folder.join("data");
            fs::create_dir(&data)?;
            run_quietly(Command::new("chown").arg("postgres").arg(&data))?;
            let own = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
            let program = |name: &str| {
                let mut command = Command::new("setpriv");
                command.args(own).arg(Path::new(programs).join(name));
                command
            };
            let mut init = program("initdb");
            run_quietly(
                init.arg("-D")
                    .arg(&data)
                    .args(["-A", "trust", "-U", "sengu"]),
            )?;
            let mut server = program("postgres");
            server.arg("-D").arg(&data);
            server.args(["-h", "127.0.0.1", "-k", "", "-p", &port.to_string()]);
            server.args(["-c", "shared_buffers=512MB", "-c", "max_wal_size=2GB"]);
            let process = begin("postgres", &mut server, port)?;
            Ok(Postgres { port, process })
        })())
    }

    /// What sengu is told of it.
    pub fn config(&self) -> String {
        format!(
            "[store]\nurl = \"postgres://sengu@127.0.0.1:{}/postgres\"\n",
            self.port
        )
    }
}

fn postgres(bench: &Bench) -> Result<Engine, String> {
    let postgres = Postgres::start(bench)?;
    Ok(Engine {
        name: "PostgreSQL",
        config: postgres.config(),
        raw: None,
        wanted: Wanted::AtLeast(8_000.0),
        beside_raw: Wanted::Nothing,
        _processes: vec![postgres.process],
    })
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let ran = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        ran.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(())
}
