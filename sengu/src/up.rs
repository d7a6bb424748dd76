//! `sengu up`: starts the roles of sengu in this process on the embedded engines, and ends them in order.

use crate::config::Config;
use crate::drivers;
use anyhow::{Context as _, Result, bail};
use sengu_execution::{Runtime, WeeConfig};
use sengu_interconnect::{Broker, MemoryBroker};
use sengu_logic::api::serve::{Tls, may_listen, serve};
use sengu_logic::{Logic, LogicConfig};
use sengu_model::seal::{KEY_BYTES, SealKey};
use sengu_store::{Store, StoreError};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

const LISTEN_DEFAULT: &str = "127.0.0.1:7468";
const RETENTION_DEFAULT_MS: u64 = 7 * 86_400_000;

#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// Configuration file [default: sengu.toml in the data directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of the API; port 0 takes a free one [default: 127.0.0.1:7468]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder with one folder per worker [default: `workers` beside this program]
    #[arg(long, value_name = "DIR")]
    workers: Option<PathBuf>,
    /// Zone whose targets this machine reaches [default: default]
    #[arg(long)]
    zone: Option<String>,
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
    let config = Config::read(&file, args.config.is_some())?;
    config.check()?;
    start_log(&config);
    // Two threads carry the whole load; more would only pass work around.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(up(args, config, data))
}

async fn up(args: UpArgs, config: Config, data: PathBuf) -> Result<()> {
    let listen = args.listen.or(config.listen);
    let listen =
        listen.unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("the default is an address"));
    let tls = config.tls_files();
    may_listen(listen, tls.is_some())?;
    // All roles use ring; a second call in one process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = match &tls {
        Some(files) => Some(Tls::load(files).await?),
        None => None,
    };

    private_folder(&data)?;
    let store = drivers::stores::sqlite::SqliteStore::open(&data.join("store"));
    let store: Arc<dyn Store> = match store {
        Ok(store) => Arc::new(store),
        Err(StoreError::InUse { .. }) => bail!(
            "another sengu runs on {}: end it, or give this one its own directory with --data",
            data.display()
        ),
        Err(e) => return Err(e).context("open the store"),
    };
    let token = token(&data.join("token"))?;
    let sealed = !store
        .records("Secret", None, 1)
        .await
        .context("read the store")?
        .is_empty();
    let seal_key = seal_key(&data.join("seal.key"), sealed)?;
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let address = listener
        .local_addr()
        .context("read the listener's address")?;

    let workers = match args.workers.or(config.workers.clone()) {
        Some(folder) => folder,
        None => beside_the_program("workers")?,
    };
    let offers = crate::images::find(&workers)?;
    if offers.is_empty() {
        tracing::warn!(folder = %workers.display(), "no worker found: nothing can be driven");
    }
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let logic = Logic::start(
        LogicConfig {
            seal_key: seal_key.clone(),
            token,
            offers,
            sengu_version: version.clone(),
            roles: vec!["logic".to_owned(), "execution".to_owned()],
            retention_ms: config.retention.map_or(RETENTION_DEFAULT_MS, |r| r.ms),
        },
        store,
        broker.clone(),
    )
    .await?;
    tokio::spawn(crate::memory::give_back_after(
        logic.shared.revision.subscribe(),
    ));
    let process = drivers::runtimes::process::ProcessRuntime::new(data.join("run"));
    let runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(process)];
    let wee = sengu_execution::start(
        WeeConfig {
            name: config.wee.clone().unwrap_or_else(|| "local".to_owned()),
            zone: args
                .zone
                .or(config.zone)
                .unwrap_or_else(|| "default".to_owned()),
            sengu_version: version,
            seal_key: Some(seal_key),
        },
        broker,
        runtimes,
    );

    let scheme = if tls.is_some() { "https" } else { "http" };
    // A listener on all addresses is reached here by loopback.
    let here = match address.ip() {
        ip if !ip.is_unspecified() => address,
        std::net::IpAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, address.port()).into(),
        std::net::IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    };
    let url = format!("{scheme}://{here}");
    write_private(&data.join("endpoint"), format!("{url}\n").as_bytes())?;
    eprintln!(
        "sengu {} serves {url} from {}",
        env!("CARGO_PKG_VERSION"),
        data.display()
    );
    eprintln!("try: sengu --data {} get workers", data.display());

    let (stop, stopping) = watch::channel(false);
    let mut waiting = stopping.clone();
    let serving = tokio::spawn(serve(logic.clone(), listener, tls, async move {
        // An error means that the sender is gone, which is also the end.
        let _ = waiting.wait_for(|s| *s).await;
    }));
    tokio::pin!(serving);
    tokio::select! {
        signal = ended_by() => tracing::info!(signal = signal?, "ending: tasks in hand may finish"),
        served = &mut serving => served.context("serve the API")??,
    }
    let _ = stop.send(true);
    wee.drain().await;
    if !serving.is_finished() {
        serving.await.context("serve the API")??;
    }
    logic.stop().await;
    Ok(())
}

async fn ended_by() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
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

/// Makes the folder for its owner only.
fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the data directory {}", path.display()))
}

/// Writes a file for its owner only, whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// A secret file that others can read is no secret.
fn check_private(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others (mode {:o}): chmod 600 {0}",
            path.display(),
            mode & 0o777
        );
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("randomness from the system: {e}"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The API's token, written on first start.
fn token(path: &Path) -> Result<String> {
    if !path.exists() {
        write_private(path, format!("{}\n", hex(&random::<32>()?)).as_bytes())?;
    }
    check_private(path)?;
    let token = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let token = token.trim().to_owned();
    if token.len() < 32 {
        bail!(
            "{} holds no token of at least 32 characters: delete it and start again",
            path.display()
        );
    }
    Ok(token)
}

/// The key that seals Secrets, written on first start. Without it they cannot be read: back it up.
fn seal_key(path: &Path, needed: bool) -> Result<SealKey> {
    if !path.exists() {
        if needed {
            bail!(
                "{} is gone and the store holds Secrets that only it can open: put it back from your backup",
                path.display()
            );
        }
        write_private(
            path,
            format!("{}\n", hex(&random::<KEY_BYTES>()?)).as_bytes(),
        )?;
    }
    check_private(path)?;
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let text = text.trim();
    let byte = |i: usize| {
        text.get(2 * i..2 * i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    let mut key = [0; KEY_BYTES];
    for (i, slot) in key.iter_mut().enumerate() {
        *slot =
            byte(i).with_context(|| format!("{} is no key of 64 hex digits", path.display()))?;
    }
    Ok(SealKey(key))
}
