//! The execution role: a WEE in the process of logic, or in one of its own that joins it.

use super::files::private_folder;
use super::interconnect::Addresses;
use super::join::{self, Join, Place};
use super::{Settings, version};
use crate::config::Config;
use crate::drivers;
use crate::drivers::brokers::link::{JoinToken, LinkBroker, LinkUrl};
use crate::images::Bundled;
use anyhow::{Context as _, Result, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sengu_execution::{Ended, Runtime, WeeConfig, WeeHandle};
use sengu_interconnect::Broker;
use sengu_model::seal::SealKey;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The logic role may start at the same time; one that is not there by then is told, and still waited for.
const JOIN_WAIT: Duration = Duration::from_secs(10);

/// Starts the WEE.
pub fn start(
    settings: &Settings,
    data: &Path,
    broker: Arc<dyn Broker>,
    bundled: &Bundled,
    seal_key: SealKey,
    embedded: bool,
) -> Result<WeeHandle> {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_micros());
    let config = WeeConfig {
        name: settings.wee.clone(),
        zone: settings.zone.clone(),
        labels: settings.labels.clone(),
        life: u64::try_from(micros).unwrap_or(u64::MAX),
        embedded,
        sengu_version: version(),
        bundled: bundled.folders.clone(),
        cache: data.join("images"),
        seal_key: Some(seal_key),
    };
    Ok(sengu_execution::start(
        config,
        broker,
        runtimes(settings, data)?,
    ))
}

/// Every runtime that this build has; each finds out for itself whether it can work here.
fn runtimes(settings: &Settings, data: &Path) -> Result<Vec<Arc<dyn Runtime>>> {
    let own = std::env::current_exe().context("find this program")?;
    let compiler = vec![own.into_os_string(), "wasm-compile".into()];
    let process = drivers::runtimes::process::ProcessRuntime::new(data.join("run"));
    let wasm = drivers::runtimes::wasm::WasmRuntime::new(data.join("wasm"), compiler);
    let docker =
        drivers::runtimes::docker::DockerRuntime::new(drivers::runtimes::docker::Settings {
            socket: settings.docker_socket.clone(),
            owner: format!("{}/{}", data.display(), settings.wee),
            network: settings.docker_network.clone(),
        });
    let mut all: Vec<Arc<dyn Runtime>> = vec![Arc::new(process), Arc::new(wasm), Arc::new(docker)];
    for name in &settings.runtimes {
        if !all.iter().any(|runtime| runtime.name() == name) {
            bail!("runtime {name:?} is not known: process, wasm or docker");
        }
    }
    let wanted = &settings.runtimes;
    all.retain(|runtime| wanted.is_empty() || wanted.iter().any(|name| name == runtime.name()));
    Ok(all)
}

/// Runs the execution role alone until SIGTERM, SIGINT or an upgrade.
///
/// # Errors
/// When it cannot join.
pub async fn run(settings: Settings, config: &Config, data: &Path, joined: Join) -> Result<()> {
    private_folder(data)?;
    let _one = one_at_a_time(data)?;
    let Join { place, seal_key } = joined;
    let place = match &config.interconnect {
        // Its own file may know another way to the same brokers.
        Some(interconnect) => Place::Brokers(Addresses::read(interconnect)?),
        None => place,
    };
    let broker = match place {
        Place::Link { url, token, ca } => link(&settings, url, token, ca.as_deref()).await?,
        Place::Brokers(addresses) => {
            let shown = &addresses.tasks;
            eprintln!("sengu {} joins {shown} as wee/{}", version(), settings.wee);
            addresses
                .open(&format!("wee {}", settings.wee))
                .await?
                .broker
        }
    };
    let bundled = match &settings.workers {
        folder if folder.is_dir() => crate::images::find(folder)?,
        _ => Bundled::default(),
    };
    let mut wee = start(&settings, data, broker, &bundled, seal_key, false)?;
    let mut signals = super::Signals::listen()?;
    let ended = tokio::select! {
        signal = signals.ended() => {
            tracing::info!(signal, "ending: tasks in hand may finish");
            wee.drain().await
        }
        ended = wee.ended() => ended,
    };
    match ended {
        Ended::Drained => Ok(()),
        Ended::Upgrade => Err(again()),
        Ended::Died => bail!("the execution environment ended by itself; see the log"),
    }
}

async fn link(
    settings: &Settings,
    url: LinkUrl,
    token: JoinToken,
    ca: Option<&Path>,
) -> Result<Arc<dyn Broker>> {
    let ca = ca.map(authorities).transpose()?;
    let shown = url.to_string();
    let broker = LinkBroker::connect(url, settings.wee.clone(), token, ca);
    eprintln!("sengu {} joins {shown} as wee/{}", version(), settings.wee);
    if let Err(error) = broker.until_joined(JOIN_WAIT).await {
        use drivers::brokers::link::LinkError as E;
        // Waiting does not mend these.
        if matches!(
            *error,
            E::Token | E::Impostor | E::Version { .. } | E::NotLoopback { .. } | E::NoAuthority
        ) {
            bail!("join {shown}: {error}");
        }
        tracing::warn!(%error, "not joined yet; trying on");
    }
    Ok(broker)
}

/// Becomes the program that is installed now, with the same arguments. Comes back only when that fails.
pub fn again() -> anyhow::Error {
    use std::os::unix::process::CommandExt as _;
    let mut arguments = std::env::args_os();
    // As it was called, so that a link to another version is followed.
    let called = arguments.next().unwrap_or_default();
    let program = match called.to_string_lossy().contains('/') {
        true => called.into(),
        false => std::env::current_exe().unwrap_or_else(|_| called.into()),
    };
    tracing::info!(program = %program.display(), "starting again");
    let error = std::process::Command::new(&program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("start {} again", program.display()))
}

/// Two execution environments on one data directory would take each other's instances for left-overs.
fn one_at_a_time(data: &Path) -> Result<std::fs::File> {
    let path = data.join("wee.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "another execution environment runs on {}: end it, or give this one its own directory with --data",
            data.display()
        ),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let all =
        CertificateDer::pem_file_iter(path).with_context(|| format!("read {}", path.display()))?;
    for certificate in all {
        let certificate = certificate.with_context(|| format!("read {}", path.display()))?;
        store
            .add(certificate)
            .with_context(|| format!("use {}", path.display()))?;
    }
    Ok(store)
}

/// The join file that was named.
///
/// # Errors
/// When none was, or it cannot be used.
pub fn join_file(settings: &Settings) -> Result<Join> {
    let Some(path) = &settings.join else {
        bail!(
            "the execution role alone needs --join <FILE>: the file `join` in the data directory of the logic role"
        );
    };
    join::read(path)
}
