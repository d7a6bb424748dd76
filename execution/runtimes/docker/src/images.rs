//! Brings images to the engine and knows which it has. An image is always known by the digest of its content: names in
//! the engine are for people, and anybody can move them.

use crate::bundle::{Bundle, Config, Defaults};
use crate::engine::{Engine, Facts, Fault, WORK_MAX};
use bollard::Docker;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use sengu_execution::runtime::{Image, RuntimeError};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// For the loading of one image: gigabytes onto a slow disk.
const LOAD_MAX: Duration = Duration::from_secs(600);
/// Images remembered as brought. One that was forgotten is brought again, which costs little while the engine has it.
const REMEMBERED_MAX: usize = 256;
/// Versions of one kind that stay in the engine, so that a roll-back finds its image there.
const VERSIONS_KEPT: usize = 8;
/// Images removed after one was loaded.
const REMOVED_MAX: usize = 16;
/// Bytes on their way to the engine: pieces of so many bytes, so many of them.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 4;

/// An image that the engine has.
#[derive(Debug)]
pub struct Ready {
    /// What the engine calls it.
    pub id: String,
    pub defaults: Defaults,
    tag: String,
}

/// What makes one image differ from another.
type Key = (String, PathBuf, Vec<String>, Option<String>);

#[derive(Default)]
struct Known {
    ready: HashMap<Key, Arc<Ready>>,
    /// Oldest first.
    order: VecDeque<Key>,
}

#[derive(Default)]
pub struct Images {
    known: Mutex<Known>,
    /// One at a time: loads are bound by the disk.
    loading: tokio::sync::Mutex<()>,
}

impl Images {
    /// The image as the engine has it, brought there if it is not.
    pub async fn ready(&self, engine: &Engine, image: &Image) -> Result<Arc<Ready>, RuntimeError> {
        let key = key(image)?;
        if let Some(ready) = self.remembered(&key)
            && inspect(engine, &ready.id).await?.is_some()
        {
            return Ok(ready);
        }
        let _alone = self.loading.lock().await;
        let ready = Arc::new(bring(engine, image).await?);
        self.remember(key, ready.clone());
        self.remove_old(engine, &ready).await;
        Ok(ready)
    }

    /// The image as it was brought, unasked whether it is still there.
    pub fn brought(&self, image: &Image) -> Option<Arc<Ready>> {
        self.remembered(&key(image).ok()?)
    }

    fn remembered(&self, key: &Key) -> Option<Arc<Ready>> {
        self.known.lock().ready.get(key).cloned()
    }

    fn remember(&self, key: Key, ready: Arc<Ready>) {
        let mut known = self.known.lock();
        if known.ready.insert(key.clone(), ready).is_none() {
            known.order.push_back(key);
        }
        while known.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = known.order.pop_front() {
                known.ready.remove(&oldest);
            }
        }
    }

    /// Removes versions of the same kind that nobody has asked for in this life and no container uses. Only by our own
    /// names: what somebody has given another name stays.
    async fn remove_old(&self, engine: &Engine, fresh: &Ready) {
        let Some((repository, _)) = fresh.tag.rsplit_once(':') else {
            return;
        };
        let filters = HashMap::from([("reference", vec![repository])]);
        let options = ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let list = |docker: Docker| async move { docker.list_images(Some(options)).await };
        let Ok(listed) = engine.call(WORK_MAX, list).await else {
            return;
        };
        let wanted: HashSet<String> = {
            let known = self.known.lock();
            known
                .ready
                .values()
                .map(|ready| ready.tag.clone())
                .collect()
        };
        let ours = |tag: &String| {
            tag.rsplit_once(':')
                .is_some_and(|(name, _)| name == repository)
        };
        let mut tags: Vec<String> = listed
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .collect();
        tags.retain(ours);
        let too_many = tags.len().saturating_sub(VERSIONS_KEPT);
        let unwanted = tags.into_iter().filter(|tag| !wanted.contains(tag));
        for tag in unwanted.take(too_many.min(REMOVED_MAX)) {
            let remove = |docker: Docker| {
                let tag = tag.clone();
                async move {
                    let unforced = None::<RemoveImageOptions>;
                    docker.remove_image(&tag, unforced, None).await
                }
            };
            match engine.call(WORK_MAX, remove).await {
                Ok(_) => tracing::info!(image = tag, "old image removed"),
                // A container uses it.
                Err(fault) => tracing::debug!(image = tag, error = fault.text(), "image stays"),
            }
        }
    }
}

fn refuse(image: &Image, why: impl Into<String>) -> RuntimeError {
    RuntimeError::Image {
        kind: image.kind.clone(),
        why: why.into(),
    }
}

fn key(image: &Image) -> Result<Key, RuntimeError> {
    let way = image.declares(crate::NAME);
    let way = way.ok_or_else(|| refuse(image, "it does not declare the runtime docker"))?;
    Ok((
        image.digest.clone(),
        image.folder.clone(),
        image.command.clone(),
        way.archive.clone(),
    ))
}

async fn bring(engine: &Engine, image: &Image) -> Result<Ready, RuntimeError> {
    let facts = engine.facts().await?;
    let bundle = {
        let image = image.clone();
        let read = tokio::task::spawn_blocking(move || bundle(&image)).await;
        read.map_err(|e| RuntimeError::Engine(format!("read the image: {e}")))?
    };
    let bundle = Arc::new(bundle.map_err(|why| refuse(image, why))?);
    fits(&bundle.config, &facts, image)?;
    let tag = tag(image, &bundle.id);
    let id = match find(engine, &facts, &bundle, &tag).await? {
        Some(id) => id,
        None => {
            let started = tokio::time::Instant::now();
            load(engine, image, &bundle, &tag).await?;
            let ms = started.elapsed().as_millis();
            tracing::info!(image = tag, id = bundle.id, ms, "image loaded");
            let found = find(engine, &facts, &bundle, &tag).await?;
            found.ok_or_else(|| {
                let id = &bundle.id;
                refuse(image, format!("what the engine has loaded is not {id}"))
            })?
        }
    };
    name(engine, &id, &tag).await;
    Ok(Ready {
        id,
        defaults: bundle.config.config.clone(),
        tag,
    })
}

fn bundle(image: &Image) -> Result<Bundle, String> {
    match image
        .declares(crate::NAME)
        .and_then(|way| way.archive.as_ref())
    {
        Some(archive) => {
            let path = crate::pack::within(&image.folder, archive).map_err(|e| e.to_string());
            let read = path.and_then(|path| crate::archive::read(&path));
            read.map_err(|why| format!("its archive {archive}: {why}"))
        }
        None => crate::pack::pack(image),
    }
}

/// Whether the engine can run it and knows what to start.
fn fits(config: &Config, facts: &Facts, image: &Image) -> Result<(), RuntimeError> {
    let (of_image, of_engine) = (&config.architecture, &facts.architecture);
    if config.os != "linux" || of_image != of_engine {
        let os = &config.os;
        let why = format!("it is for {os}/{of_image}, the engine is linux/{of_engine}");
        return Err(refuse(image, why));
    }
    let defaults = &config.config;
    if defaults.entrypoint.is_none() && defaults.cmd.is_none() && image.command.is_empty() {
        let why = "neither its archive nor its worker.toml says what to start";
        return Err(refuse(image, why));
    }
    Ok(())
}

async fn inspect(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, RuntimeError> {
    let ask = |docker: Docker| async move { docker.inspect_image(name).await };
    match engine.call(WORK_MAX, ask).await {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is(404) => Ok(None),
        Err(fault) => Err(engine.error("look for the image", fault)),
    }
}

/// What the engine calls the image, if it has it.
async fn find(
    engine: &Engine,
    facts: &Facts,
    bundle: &Bundle,
    tag: &str,
) -> Result<Option<String>, RuntimeError> {
    if let Some(found) = inspect(engine, &bundle.id).await? {
        return Ok((found.id.as_deref() == Some(&bundle.id)).then(|| bundle.id.clone()));
    }
    if !facts.containerd_store {
        return Ok(None);
    }
    // Such an engine names it by another digest, so it is known by all that a container of it is made of.
    let found = inspect(engine, tag).await?;
    Ok(found
        .filter(|found| is_same(found, &bundle.config))
        .and_then(|found| found.id))
}

fn is_same(found: &ImageInspect, config: &Config) -> bool {
    let layers = found.root_fs.as_ref().and_then(|root| root.layers.as_ref());
    let told = found.config.clone().unwrap_or_default();
    let defaults = Defaults {
        entrypoint: told.entrypoint,
        cmd: told.cmd,
        env: told.env,
        user: told.user,
        working_dir: told.working_dir,
    };
    layers.map_or(&[][..], Vec::as_slice) == config.rootfs.diff_ids
        && found.architecture.as_ref() == Some(&config.architecture)
        && defaults.plain() == config.config
}

async fn load(
    engine: &Engine,
    image: &Image,
    bundle: &Arc<Bundle>,
    tag: &str,
) -> Result<(), RuntimeError> {
    let (pieces, body) = mpsc::channel(PIECES);
    let (source, name) = (bundle.clone(), tag.to_owned());
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = Pieces {
            to: pieces,
            piece: Vec::with_capacity(PIECE_BYTES),
        };
        let written = source.write(&name, &mut out).and_then(|()| out.flush());
        // The engine must not take what came so far for the whole.
        if let Err(e) = &written {
            let broken = Err(io::Error::new(e.kind(), e.to_string()));
            let _ = out.to.blocking_send(broken);
        }
        written
    });
    let body = futures::stream::unfold(body, |mut body| async {
        body.recv()
            .await
            .map(|piece: io::Result<Bytes>| (piece, body))
    });
    let load = |docker: Docker| async move {
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut told = Box::pin(docker.import_image_stream(options, body, None));
        while let Some(step) = told.next().await {
            step?;
        }
        Ok(())
    };
    let loaded = engine.call(LOAD_MAX, load).await;
    let written = writing.await;
    // A writer that the engine left says only that; one that failed by itself is the cause.
    if let Ok(Err(e)) = written
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(RuntimeError::io("read the image")(e));
    }
    match loaded {
        Ok(()) => Ok(()),
        Err(Fault::Refused(_, why)) if !why.contains("no space left") => {
            Err(refuse(image, format!("the engine does not load it: {why}")))
        }
        Err(fault) => Err(engine.error("load the image", fault)),
    }
}

/// For people who look at the engine; nothing here relies on it unless the content is compared too.
async fn name(engine: &Engine, id: &str, tag: &str) {
    let Some((repository, version)) = tag.rsplit_once(':') else {
        return;
    };
    let options = TagImageOptionsBuilder::default()
        .repo(repository)
        .tag(version)
        .build();
    let name = |docker: Docker| async move { docker.tag_image(id, Some(options)).await };
    if let Err(fault) = engine.call(WORK_MAX, name).await {
        tracing::debug!(image = tag, error = fault.text(), "image not named");
    }
}

/// `sengu/<kind>:<version>-<short digest>`, in the letters that engines allow.
fn tag(image: &Image, id: &str) -> String {
    let letters = |text: &str, most: usize| -> String {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let mut out = String::new();
        for c in text.to_ascii_lowercase().chars().take(most) {
            if plain(c) {
                out.push(c);
            } else if out.ends_with(plain) {
                out.push(if c == '.' { '.' } else { '-' });
            }
        }
        out.trim_end_matches(['.', '-']).to_owned()
    };
    let digest = |digest: &str| letters(digest.rsplit(':').next().unwrap_or_default(), 12);
    let short = [digest(&image.digest), digest(id)];
    let short = short
        .into_iter()
        .find(|short| !short.is_empty())
        .unwrap_or_default();
    let version = letters(&image.version, 64);
    match letters(&image.kind, 64).as_str() {
        "" => format!("sengu/worker:{version}-{short}"),
        kind => format!("sengu/{kind}:{version}-{short}"),
    }
}

/// Cuts what is written into pieces and hands them to the request; waits while the engine is slower.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let left = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine has left");
        self.to.blocking_send(Ok(Bytes::from(piece))).map_err(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_execution::runtime::Resources;

    #[test]
    fn an_image_known_by_another_digest_is_the_same_only_with_all_that_it_is_made_of() {
        let config: Config = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":["sha256:a","sha256:b"]},
                "config":{"Entrypoint":["/worker/x"],"User":"65534:65534"}}"#,
        )
        .unwrap();
        let told = r#"{"Id":"sha256:m","Architecture":"amd64","Os":"linux",
            "RootFS":{"Type":"layers","Layers":["sha256:a","sha256:b"]},
            "Config":{"Entrypoint":["/worker/x"],"User":"65534:65534","Cmd":null,"Env":[],
                      "WorkingDir":"","Labels":{"more":"words"}}}"#;
        let same = |told: &str| is_same(&serde_json::from_str(told).unwrap(), &config);
        assert!(same(told), "null, absent and empty are one");
        for (from, to) in [
            ("sha256:b", "sha256:c"),
            ("/worker/x", "/worker/y"),
            (r#""Env":[]"#, r#""Env":["A=b"]"#),
            ("65534:65534", "0"),
            ("amd64", "arm64"),
        ] {
            assert!(!same(&told.replace(from, to)), "{from} -> {to}");
        }
    }

    #[test]
    fn names_in_the_engine_have_only_letters_that_it_allows() {
        let tag = |kind: &str, version: &str, digest: &str| {
            let image = Image {
                kind: kind.to_owned(),
                version: version.to_owned(),
                digest: digest.to_owned(),
                folder: PathBuf::new(),
                command: Vec::new(),
                runtimes: Vec::new(),
                resources: Resources::default(),
                slots: 1,
            };
            super::tag(&image, "sha256:feed")
        };
        let long = "sha256:0123456789abcdef";
        assert_eq!(
            tag("redfish", "1.5.0", long),
            "sengu/redfish:1.5.0-0123456789ab"
        );
        assert_eq!(tag("a..b-", "1.0.0-rc.1", ""), "sengu/a.b:1.0.0-rc.1-feed");
        assert_eq!(tag("--", "1.0.0", "sha256:no"), "sengu/worker:1.0.0-no");
    }
}
