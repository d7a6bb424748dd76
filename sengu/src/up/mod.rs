//! `sengu up`: starts the roles of sengu in this process, and ends them in order.

mod execution;
mod files;
pub mod interconnect;
mod join;
mod logic;
mod moving;
pub mod store;

pub(crate) use files::check_private;

use crate::config::Config;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

const LISTEN_DEFAULT: &str = "127.0.0.1:7468";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// API, runs, schedules, the truth about tasks
    Logic,
    /// Runs workers
    Execution,
}

#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// Configuration file [default: sengu.toml in the data directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this role; may be given twice [default: both]
    #[arg(long, value_enum)]
    role: Vec<Role>,
    /// Address and port of the API; port 0 takes a free one [default: 127.0.0.1:7468]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder with one folder per worker [default: `workers` beside this program]
    #[arg(long, value_name = "DIR")]
    workers: Option<PathBuf>,
    /// Zone whose targets this machine reaches [default: default]
    #[arg(long)]
    zone: Option<String>,
    /// Execution alone: the file `join` of the logic role's data directory, or that directory
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// Name of the execution environment, unique among all [default: local, or the host's name with --join]
    #[arg(long, value_name = "NAME")]
    wee: Option<String>,
    /// Label of the execution environment; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Runtime that the execution environment uses; may be repeated [default: all there are]
    #[arg(long = "runtime", value_name = "process|wasm|docker")]
    runtimes: Vec<String>,
    /// Logic: address and port where execution environments of other machines join; off loopback it needs TLS
    /// [default: only the socket `interconnect.sock` of the data directory]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_join: Option<SocketAddr>,
    /// Logic: address and port where MQTT clients follow results, readings and changes [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_mqtt: Option<SocketAddr>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    if !sengu_model::record::valid_label_key(key) {
        return Err("a key is letters, digits and . - _ /".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Flags over the configuration file over defaults.
pub struct Settings {
    pub listen: SocketAddr,
    pub listen_join: Option<SocketAddr>,
    pub workers: PathBuf,
    pub zone: String,
    pub wee: String,
    pub labels: BTreeMap<String, String>,
    pub join: Option<PathBuf>,
    /// None named: all.
    pub runtimes: Vec<String>,
    pub docker_socket: Option<PathBuf>,
    pub docker_network: String,
    pub logic: bool,
    pub execution: bool,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When a role cannot be started; what is wrong and where.
pub fn run(args: UpArgs, data: PathBuf) -> Result<()> {
    let file = args
        .config
        .clone()
        .unwrap_or_else(|| data.join("sengu.toml"));
    let mut config = Config::read(&file, args.config.is_some())?;
    config.listen_mqtt = args.listen_mqtt.or(config.listen_mqtt);
    config.check()?;
    start_log(&config);
    let settings = settings(args, &config)?;
    // Two threads carry the whole load; more would only pass work around.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(up(settings, config, data))
}

async fn up(settings: Settings, config: Config, data: PathBuf) -> Result<()> {
    // All roles use ring; a second call in one process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if settings.logic {
        return logic::run(settings, &config, &data).await;
    }
    let joined = execution::join_file(&settings)?;
    execution::run(settings, &config, &data, joined).await
}

fn settings(args: UpArgs, config: &Config) -> Result<Settings> {
    let both = args.role.is_empty();
    let role = |role| both || args.role.contains(&role);
    let (logic, execution) = (role(Role::Logic), role(Role::Execution));
    anyhow::ensure!(
        !(logic && args.join.is_some()),
        "--join is for `--role execution` alone: the logic role is what is joined"
    );
    let workers = match args.workers.or_else(|| config.workers.clone()) {
        Some(folder) => folder,
        None => beside_the_program("workers")?,
    };
    let wee = match (args.wee.or_else(|| config.wee.clone()), logic) {
        (Some(name), _) => name,
        (None, true) => "local".to_owned(),
        (None, false) => host_name(),
    };
    anyhow::ensure!(
        sengu_model::record::valid_name(&wee),
        "{wee:?} cannot be the name of an execution environment: 1 to 128 of a-z 0-9 . - _; name it with --wee"
    );
    let mut labels = config.labels.clone();
    labels.extend(args.labels);
    Ok(Settings {
        listen: args
            .listen
            .or(config.listen)
            .unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("the default is an address")),
        listen_join: args.listen_join.or(config.listen_join),
        workers,
        zone: args
            .zone
            .or_else(|| config.zone.clone())
            .unwrap_or_else(|| "default".to_owned()),
        wee,
        labels,
        join: args.join.or_else(|| config.join.clone()),
        runtimes: match args.runtimes.is_empty() {
            true => config.runtimes.clone(),
            false => args.runtimes,
        },
        docker_socket: config.docker.socket.clone(),
        docker_network: config.docker.network.clone(),
        logic,
        execution,
    })
}

fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase();
    let plain = |c: char| match c {
        'a'..='z' | '0'..='9' | '.' | '-' => c,
        _ => '-',
    };
    name.chars().map(plain).collect()
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The signals that end sengu. From the moment that somebody listens they no longer end the process by themselves, so
/// one that comes while nobody waits is kept for whoever waits next.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        Ok(Signals {
            terminate,
            interrupt,
        })
    }

    /// The name of the one that came.
    async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn start_log(config: &Config) {
    let filter = std::env::var("SENGU_LOG")
        .ok()
        .or_else(|| config.log.clone());
    let filter = tracing_subscriber::EnvFilter::new(filter.as_deref().unwrap_or("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Already set when a test runs several in one process.
    let _ = log
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

fn beside_the_program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let program = program.canonicalize().unwrap_or(program);
    Ok(program.parent().unwrap_or(Path::new(".")).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};

    #[tokio::test]
    async fn a_signal_that_comes_while_nobody_waits_is_told_to_the_next_who_does() {
        let mut signals = Signals::listen().unwrap();
        tokio::select! {
            biased;
            _ = signals.ended() => panic!("nobody sent one"),
            () = std::future::ready(()) => {}
        }
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(signals.ended().await, "SIGTERM");
    }
}
