//! Images that did not come with the program: fetched over the interconnect from a logic that is not always right.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Ask, House, offer, well};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue};
use sengu_model::image::Packer;
use sengu_model::limits::BLOB_PART_BYTES;
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::{BlobRequest, Event, WeeCommand, WorkerOffer};
use sengu_model::{Effect, Outcome};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An image of several parts: the well-behaved worker with a large file beside it.
fn image(name: &str, version: &str) -> (WorkerOffer, Vec<u8>) {
    let script = include_bytes!("bad/bad.py");
    let script = [b"#!/usr/bin/env -S python3 -u\n".as_slice(), script].concat();
    let mut manifest = well(name, version);
    manifest.command = ["run", "well", name, version].map(str::to_owned).into();
    let mut seed = 7_u32;
    let ballast: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(5 * BLOB_PART_BYTES / 2)
    .collect();
    let text = format!("# {name} {version}\n");
    let mut packer = Packer::new(Vec::new());
    let mut file = |name: &str, executable, content: &[u8]| {
        let bytes = content.len() as u64;
        packer
            .file(name, executable, bytes, content)
            .expect("a file fits");
    };
    file("lib/ballast", false, &ballast);
    file("run", true, &script);
    file("worker.toml", false, text.as_bytes());
    let (tar, bytes, digest) = packer.finish().expect("an image");
    let offer = WorkerOffer {
        bytes,
        ..offer(&manifest, &digest)
    };
    (offer, tar)
}

/// What becomes of a request.
type Answer = Box<dyn FnMut(&BlobRequest, usize) -> Reply + Send>;

enum Reply {
    Part,
    Short,
    Nothing,
    Wrong,
    Error(&'static str),
}

/// Stands in for logic's store of images.
struct Blobs {
    asked: Arc<Mutex<Vec<BlobRequest>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Blobs {
    fn serve(
        broker: Arc<MemoryBroker>,
        blobs: &[(&WorkerOffer, &[u8])],
        mut answer: Answer,
    ) -> Self {
        let known: HashMap<String, Vec<u8>> = blobs
            .iter()
            .map(|(offer, tar)| (offer.digest.clone(), tar.to_vec()))
            .collect();
        let asked: Arc<Mutex<Vec<BlobRequest>>> = Arc::default();
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            let mut requests = broker
                .subscribe(Queue::blobs(), 64)
                .await
                .expect("subscribe");
            loop {
                let deliveries = requests.receive(1).await.expect("receive");
                for delivery in deliveries {
                    requests.ack(&[delivery.tag]).expect("ack");
                    let request: BlobRequest =
                        serde_json::from_slice(&delivery.body).expect("a request");
                    assert_eq!(request.wee, "wee-1");
                    let before = {
                        let mut noted = noted.lock().expect("no panic before");
                        noted.push(request.clone());
                        noted.len() - 1
                    };
                    let reply = answer(&request, before);
                    let Some(command) = part(&known[&request.digest], &request, &reply) else {
                        continue;
                    };
                    let message = Message {
                        queue: Queue::wee(&request.wee),
                        body: serde_json::to_vec(&command).expect("JSON").into(),
                    };
                    broker.publish(vec![message]).await.expect("publish");
                }
            }
        });
        Blobs { asked, task }
    }

    fn asked(&self) -> Vec<BlobRequest> {
        self.asked.lock().expect("no panic before").clone()
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn part(tar: &[u8], request: &BlobRequest, reply: &Reply) -> Option<WeeCommand> {
    let from = usize::try_from(request.offset).expect("an offset");
    let (most, error) = match reply {
        Reply::Nothing => return None,
        Reply::Error(why) => (0, Some((*why).to_owned())),
        Reply::Short => (1_000, None),
        Reply::Part | Reply::Wrong => (BLOB_PART_BYTES, None),
    };
    let mut data = tar[from..tar.len().min(from + most)].to_vec();
    if matches!(reply, Reply::Wrong) {
        data.reverse();
    }
    Some(WeeCommand::BlobPart {
        digest: request.digest.clone(),
        offset: request.offset,
        total: tar.len() as u64,
        data: STANDARD.encode(data),
        error,
    })
}

fn ask(house: &mut House, manifest: &Manifest) -> Ask {
    let mut ask = house.ask(&manifest.name, "go", Effect::Once);
    ask.version.clone_from(&manifest.version);
    ask
}

async fn runs(house: &mut House, offer: &WorkerOffer) {
    let ask = ask(house, &offer.manifest);
    let said = house.run(&ask).await;
    assert!(matches!(said.outcome, Some(Outcome::Done(_))), "{said:?}");
    assert!(said.text.contains(&offer.digest));
}

fn cache(house: &House) -> PathBuf {
    house.state.path().join("images")
}

fn files(house: &House) -> Vec<String> {
    // Until something is fetched there may be none.
    let entries = std::fs::read_dir(cache(house)).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.expect("an entry").file_name().display().to_string())
        .collect();
    names.sort();
    names
}

async fn broken(house: &House, kind: &str) -> String {
    let pool = house.pool_until(kind, |p| p.broken.is_some()).await;
    pool.broken.expect("it is")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_fetched_once_for_two_kinds_and_kept_read_only() {
    let mut house = House::new().await;
    let (offer, tar) = image("one", "1.0.0");
    let blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(|_, _| Reply::Part),
    );
    house.offer_as(&offer).await;
    let mut twin = offer.clone();
    twin.manifest.name = "two".to_owned();
    twin.manifest.command[2] = "two".to_owned();
    house.offer_as(&twin).await;
    runs(&mut house, &offer).await;
    runs(&mut house, &twin).await;
    let asked = blobs.asked();
    assert_eq!(
        asked.len(),
        tar.len().div_ceil(BLOB_PART_BYTES),
        "{asked:?}"
    );
    let hex = offer.digest.strip_prefix("sha256:").unwrap();
    assert_eq!(files(&house), [hex.to_owned(), format!("{hex}.ok")]);
    let program = std::fs::metadata(cache(&house).join(hex).join("run")).unwrap();
    assert_eq!(program.permissions().mode() & 0o7777, 0o555);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inactive_version_costs_no_disk_until_a_task_is_pinned_to_it() {
    let mut house = House::new().await;
    let (mut offer, tar) = image("one", "1.0.0");
    offer.active = false;
    let blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(|_, _| Reply::Part),
    );
    house.offer_as(&offer).await;
    house.pool_until("one", |p| p.broken.is_none()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(blobs.asked(), []);
    runs(&mut house, &offer).await;
    assert!(!blobs.asked().is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_come_are_asked_for_again_and_short_ones_made_up_for() {
    let mut house = House::new().await;
    let (offer, tar) = image("one", "1.0.0");
    let blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(|_, before| match before {
            1 => Reply::Nothing,
            2 => Reply::Short,
            _ => Reply::Part,
        }),
    );
    house.offer_as(&offer).await;
    house.pool_until("one", |p| !p.runtime.is_empty()).await;
    let end = Instant::now() + common::LIMIT;
    while !files(&house).iter().any(|name| name.ends_with(".ok")) {
        assert!(Instant::now() < end, "{:?}", blobs.asked());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    runs(&mut house, &offer).await;
    let asked = blobs.asked();
    assert_eq!(asked.len(), tar.len().div_ceil(BLOB_PART_BYTES) + 2);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_never_run_and_named() {
    let mut house = House::new().await;
    let (offer, tar) = image("one", "1.0.0");
    let blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(|_, _| Reply::Wrong),
    );
    house.offer_as(&offer).await;
    let why = broken(&house, "one").await;
    assert!(why.contains("its bytes are sha256:"), "{why}");
    assert!(why.contains(&offer.digest), "{why}");
    let ask = ask(&mut house, &offer.manifest);
    let rejected = house.run(&ask).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(rejected.why.unwrap().contains("is offered"));
    assert_eq!(files(&house), [""; 0]);
    let asked = blobs.asked().len();
    assert_eq!(asked, tar.len().div_ceil(BLOB_PART_BYTES), "no tight loop");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_logic_refuses_is_told_and_asked_for_again_later() {
    let mut house = House::new().await;
    let (offer, tar) = image("one", "1.0.0");
    let first = Instant::now();
    let _blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(move |_, before| match before {
            0 => Reply::Error("the store of images is closed for stocktaking"),
            _ => Reply::Part,
        }),
    );
    house.offer_as(&offer).await;
    let why = broken(&house, "one").await;
    assert!(why.contains("closed for stocktaking"), "{why}");
    house.pool_until("one", |p| p.broken.is_none()).await;
    assert!(
        first.elapsed() > Duration::from_millis(500),
        "no tight loop"
    );
    runs(&mut house, &offer).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_uses_what_is_whole_and_clears_away_what_is_not() {
    let state = tempfile::tempdir().unwrap();
    let cache = state.path().join("images");
    let (offer, tar) = image("one", "1.0.0");
    let serve = |house: &House| {
        let answer: Answer = Box::new(|_, _| Reply::Part);
        Blobs::serve(house.broker.clone(), &[(&offer, &tar)], answer)
    };
    let hex = offer.digest.strip_prefix("sha256:").unwrap();
    // Half-written: no mark.
    std::fs::create_dir_all(cache.join(hex)).unwrap();
    std::fs::write(cache.join(hex).join("run"), "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::write(cache.join(format!("{hex}.coming")), "half").unwrap();
    for parts in [tar.len().div_ceil(BLOB_PART_BYTES), 0] {
        let mut house = House::with(|config| config.cache.clone_from(&cache)).await;
        let blobs = serve(&house);
        house.offer_as(&offer).await;
        runs(&mut house, &offer).await;
        assert_eq!(blobs.asked().len(), parts);
        house.close().await;
    }
    let names = std::fs::read_dir(&cache).unwrap().count();
    assert_eq!(names, 2, "the image and its mark");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_runtime_here_is_named() {
    let mut house = House::new().await;
    let (mut offer, _) = image("one", "1.0.0");
    offer.manifest.runtimes = serde_json::from_str(r#"[{"name":"docker"}]"#).unwrap();
    house.offer_as(&offer).await;
    let why = broken(&house, "one").await;
    assert!(why.contains("it declares docker; here: process"), "{why}");
    let ask = ask(&mut house, &offer.manifest);
    assert_eq!(house.run(&ask).await.event, Event::Rejected);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_be_written_is_told() {
    let state = tempfile::tempdir().unwrap();
    let cache = state.path().join("a-file");
    std::fs::write(&cache, "in the way").unwrap();
    let house = House::with(|config| config.cache.clone_from(&cache)).await;
    let (offer, tar) = image("one", "1.0.0");
    let _blobs = Blobs::serve(
        house.broker.clone(),
        &[(&offer, &tar)],
        Box::new(|_, _| Reply::Part),
    );
    house.offer_as(&offer).await;
    let why = broken(&house, "one").await;
    assert!(why.contains("a-file"), "{why}");
    house.close().await;
}
