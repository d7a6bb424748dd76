//! The logic role, with or without an execution environment in the same process.

use super::files::{private_folder, seal_key, token, write_private};
use super::interconnect::Addresses;
use super::{Settings, Signals, execution, join, version};
use crate::config::Config;
use crate::drivers::brokers::link::{self, JoinToken, Listener};
use crate::drivers::brokers::mqtt;
use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sengu_interconnect::events::Followers;
use sengu_interconnect::{Broker, MemoryBroker, address};
use sengu_logic::api::serve::{Tls, TlsFiles, may_listen, serve};
use sengu_logic::api::standby;
use sengu_logic::leader::{self, Seat};
use sengu_logic::{Follower, Logic, LogicConfig, Movable, Tokens};
use sengu_store::Store;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const RETENTION_DEFAULT_MS: u64 = 7 * 86_400_000;
/// More than a year, as audits want it.
const AUDIT_RETENTION_DEFAULT_MS: u64 = 400 * 86_400_000;
/// Linux takes socket names of less than this.
const SOCKET_BYTES_MAX: usize = 108;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot be started; what is wrong and where.
pub async fn run(settings: Settings, config: &Config, data: &Path) -> Result<()> {
    let files = config.tls_files();
    may_listen(settings.listen, files.is_some())?;
    let tls = match &files {
        Some(files) => Some(Tls::load(files).await?),
        None => None,
    };

    private_folder(data)?;
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let address = listener
        .local_addr()
        .context("read the listener's address")?;
    let here = url_of(address, tls.is_some());
    let tokens = Tokens {
        operator: token(&data.join("token"))?,
        viewer: token(&data.join("token-viewer"))?,
    };
    let mut signals = Signals::listen()?;
    let opened = tokio::select! {
        opened = super::store::open(config.store.as_ref(), data) => opened?,
        signal = signals.ended() => {
            tracing::info!(signal, "ended before the store was there");
            return Ok(());
        }
    };
    let super::store::Opened {
        store,
        rows,
        place,
        blobs,
        shared,
    } = opened;
    let sealed = !store
        .records("Secret", None, 1)
        .await
        .context("read the store")?
        .is_empty();
    let seal_key = seal_key(&data.join("seal.key"), sealed)?;
    if shared {
        super::store::check_seal_key(store.as_ref(), &seal_key, data).await?;
    }
    let bundled = crate::images::find(&settings.workers)?;
    if bundled.offers.is_empty() {
        tracing::warn!(folder = %settings.workers.display(), "no worker came with this program");
    }
    // Before the seat: whoever holds it moves its beat from then on, and waits for nobody.
    let name = config.name.clone().unwrap_or_else(super::host_name);
    let addresses = config
        .interconnect
        .as_ref()
        .map(Addresses::read)
        .transpose()?;
    let (broker, mut followers) = match &addresses {
        None => (Arc::new(MemoryBroker::new()) as Arc<dyn Broker>, Vec::new()),
        Some(addresses) => {
            let name = format!("logic {name}");
            let opened = tokio::select! {
                opened = addresses.open(&name) => opened?,
                signal = signals.ended() => {
                    tracing::info!(signal, "ended before the interconnect was there");
                    return Ok(());
                }
            };
            let follower = |to| Follower {
                name: "broker".to_owned(),
                to,
            };
            (
                opened.broker,
                opened.followers.into_iter().map(follower).collect(),
            )
        }
    };
    let seat = match shared {
        false => Seat::alone(store.as_ref()).await.context("use the store")?,
        true => {
            // Whoever asks is told that another one is the active one.
            write_private(&data.join("endpoint"), format!("{here}\n").as_bytes())?;
            let stood = stand_by(
                &settings,
                config,
                &store,
                &here,
                &listener,
                tls.clone(),
                &mut signals,
            );
            match stood.await? {
                Some(seat) => seat,
                None => return Ok(()), // ended while it stood by
            }
        }
    };
    if let Some(listener) = listen_mqtt(config, data, &tokens.operator, files.as_ref())? {
        followers.push(Follower {
            name: "listener".to_owned(),
            to: listener,
        });
    }
    let mut roles = vec!["logic".to_owned()];
    if settings.execution {
        roles.push("execution".to_owned());
    }
    let mut lost = seat.lost();
    let logic = Logic::start_in(
        seat,
        LogicConfig {
            seal_key: seal_key.clone(),
            tokens,
            bundled: bundled.offers.clone(),
            bundles: Arc::new(bundled.clone()),
            blobs,
            sengu_version: version(),
            interconnect: addresses
                .as_ref()
                .map_or_else(|| "embedded".to_owned(), Addresses::engine),
            roles,
            audit_retention_ms: config
                .audit_retention
                .map_or(AUDIT_RETENTION_DEFAULT_MS, |r| r.ms),
            retention_ms: config.retention.map_or(RETENTION_DEFAULT_MS, |r| r.ms),
            followers,
            moving: Some(Movable {
                rows: Some(rows),
                place,
                name: name.clone(),
                url: config.url.clone().unwrap_or_else(|| here.clone()),
                opener: Arc::new(super::moving::Opener {
                    data: data.to_owned(),
                    seal_key: seal_key.clone(),
                }),
            }),
        },
        store,
        broker.clone(),
    )
    .await?;
    tokio::spawn(crate::memory::give_back_after(
        logic.shared.revision.subscribe(),
    ));
    let (stop, stopping) = watch::channel(false);
    let joined = match &addresses {
        None => joinable(
            &settings,
            data,
            &broker,
            &seal_key,
            files.as_ref(),
            &stopping,
        )?,
        Some(addresses) => {
            join::write_brokers(&data.join("join"), addresses, &seal_key)?;
            Vec::new()
        }
    };
    let wee = match settings.execution {
        true => Some(execution::start(
            &settings, data, broker, &bundled, seal_key, true,
        )?),
        false => None,
    };

    write_private(&data.join("endpoint"), format!("{here}\n").as_bytes())?;
    eprintln!("sengu {} serves {here} from {}", version(), data.display());
    eprintln!("console {here}{}", sengu_console::PATH);
    eprintln!("try: sengu --data {} get workers", data.display());

    let mut waiting = stopping.clone();
    let serving = tokio::spawn(serve(
        logic.clone(),
        sengu_console::routes(),
        listener,
        tls,
        async move {
            // An error means that the sender is gone, which is also the end.
            let _ = waiting.wait_for(|s| *s).await;
        },
    ));
    tokio::pin!(serving);
    tokio::select! {
        signal = signals.ended() => tracing::info!(signal, "ending: tasks in hand may finish"),
        served = &mut serving => served.context("serve the API")??,
        // An error means that logic is gone, which cannot be while it is held here.
        _ = lost.wait_for(|lost| *lost) => {}
    }
    let overtaken = *lost.borrow();
    if let Some(wee) = wee {
        wee.drain().await;
    }
    let _ = stop.send(true);
    if !serving.is_finished() {
        serving.await.context("serve the API")??;
    }
    logic.stop().await;
    for link in joined {
        link.abort();
    }
    match overtaken {
        // Stands by from now on, with nothing left of the life that is over.
        true => Err(execution::again()),
        false => Ok(()),
    }
}

/// Waits for the seat while the listener answers that another one has it. None when sengu is ended meanwhile.
async fn stand_by(
    settings: &Settings,
    config: &Config,
    store: &Arc<dyn Store>,
    here: &str,
    listener: &TcpListener,
    tls: Option<Tls>,
    signals: &mut Signals,
) -> Result<Option<Arc<Seat>>> {
    let (holder, held) = watch::channel(None);
    let (stop, mut stopping) = watch::channel(false);
    let listener = listener.try_clone().context("share the listener")?;
    let waiting = tokio::spawn(standby::serve(held, listener, tls, async move {
        let _ = stopping.wait_for(|s| *s).await;
    }));
    let name = config.name.clone().unwrap_or_else(super::host_name);
    let url = config.url.clone().unwrap_or_else(|| here.to_owned());
    if config.interconnect.is_none() && settings.execution {
        tracing::warn!(
            "the store is shared and the interconnect is embedded: a standby could reach none of the execution environments of this one; name a broker in [interconnect]"
        );
    }
    let seat = tokio::select! {
        seat = leader::stand_by(store.as_ref(), &name, &url, &holder) => Some(seat.context("use the store")?),
        signal = signals.ended() => {
            tracing::info!(signal, "ended while it stood by");
            None
        }
    };
    let _ = stop.send(true);
    waiting.await.context("serve while standing by")??;
    Ok(seat)
}

/// Where an API that listens there is reached from here.
fn url_of(address: std::net::SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    // A listener on all addresses is reached here by loopback.
    let here = match address.ip() {
        ip if !ip.is_unspecified() => address,
        std::net::IpAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, address.port()).into(),
        std::net::IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    };
    format!("{scheme}://{here}")
}

/// Serves MQTT clients that follow what happens, if asked for.
fn listen_mqtt(
    config: &Config,
    data: &Path,
    token: &str,
    files: Option<&TlsFiles>,
) -> Result<Option<Arc<dyn Followers>>> {
    let Some(listen) = config.listen_mqtt else {
        return Ok(None);
    };
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let address = listener
        .local_addr()
        .context("read the listener's address")?;
    let tls = files.map(tls_config).transpose()?;
    let scheme = if tls.is_some() { "mqtts" } else { "mqtt" };
    let listener = mqtt::MqttListener::start(
        listener,
        tls,
        token.to_owned(),
        address::PREFIX_DEFAULT.to_owned(),
    );
    let listener = listener.with_context(|| format!("serve MQTT on {address}"))?;
    let url = format!("{scheme}://{address}");
    write_private(&data.join("mqtt"), format!("{url}\n").as_bytes())?;
    eprintln!("events: {url}, any user, the token as password");
    Ok(Some(listener))
}

/// Lets execution environments join, and writes how: over a socket of the data directory, and over TCP if asked for.
fn joinable(
    settings: &Settings,
    data: &Path,
    broker: &Arc<dyn Broker>,
    seal_key: &sengu_model::seal::SealKey,
    files: Option<&TlsFiles>,
    stopping: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>> {
    let token = join::token(&data.join("join.token"))?;
    let mut links = Vec::new();
    let mut serve = |listener: Listener, token: JoinToken, tls| {
        let (broker, mut stopping) = (broker.clone(), stopping.clone());
        links.push(tokio::spawn(async move {
            let stop = async move {
                let _ = stopping.wait_for(|s| *s).await;
            };
            if let Err(error) = link::serve(broker, listener, token, tls, stop).await {
                tracing::error!(%error, "execution environments can no longer join");
            }
        }));
    };
    let socket = data
        .canonicalize()
        .unwrap_or_else(|_| data.to_owned())
        .join("interconnect.sock");
    let mut url = None;
    if socket.as_os_str().len() < SOCKET_BYTES_MAX {
        let _ = std::fs::remove_file(&socket);
        let listener = tokio::net::UnixListener::bind(&socket)
            .with_context(|| format!("listen on {}", socket.display()))?;
        serve(Listener::Unix(listener), token.clone(), None);
        url = Some(format!("unix://{}", socket.display()));
    } else {
        tracing::warn!(
            socket = %socket.display(),
            "its name is too long for a socket: execution environments can join over --listen-join only"
        );
    }
    let mut ca = None;
    if let Some(address) = settings.listen_join {
        let tls = match files {
            Some(files) => Some(tls_config(files)?),
            None => None,
        };
        let listener =
            TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        listener
            .set_nonblocking(true)
            .context("set up a listener")?;
        let address = listener
            .local_addr()
            .context("read the listener's address")?;
        let listener = Listener::Tcp(tokio::net::TcpListener::from_std(listener)?);
        listener.check(tls.is_some())?;
        let scheme = if tls.is_some() { "tls" } else { "tcp" };
        // A listener on all addresses is reached by this machine's name.
        let host = match address.ip().is_unspecified() {
            true => super::host_name(),
            false if address.is_ipv6() => format!("[{}]", address.ip()),
            false => address.ip().to_string(),
        };
        url = Some(format!("{scheme}://{host}:{}", address.port()));
        ca = files.map(|files| files.cert.clone());
        serve(listener, token.clone(), tls);
    }
    if let Some(url) = url {
        join::write(&data.join("join"), &url, &token, seal_key, ca.as_deref())?;
    }
    Ok(links)
}

fn tls_config(files: &TlsFiles) -> Result<Arc<rustls::ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("read {}", files.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("read {}", files.key.display()))?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("use {} and {}", files.cert.display(), files.key.display()))?;
    Ok(Arc::new(config))
}
