//! The store moves into one that is shared, and back, with the seat; what has moved is started on by nobody.

#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests
use futures::future::{BoxFuture, FutureExt as _};
use sengu_interconnect::MemoryBroker;
use sengu_logic::leader::{self, Seat};
use sengu_logic::{Logic, LogicConfig, Movable, MoveTo, OpenStore, Opened};
use sengu_model::Problem;
use sengu_model::seal::SealKey;
use sengu_store::{Store, StoreError};
use sengu_store_directory::DirectoryBlobs;
use sengu_store_sqlite::SqliteStore;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const LIMIT: Duration = Duration::from_secs(20);

struct NoBundles;

impl sengu_logic::workers::Bundles for NoBundles {
    fn pack(&self, digest: &str, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("no files for {digest}")))
    }
}

/// Opens folders. What is asked for as `postgres` counts as shared.
struct Folders(PathBuf);

impl OpenStore for Folders {
    fn open(&self, to: MoveTo) -> BoxFuture<'_, Result<Opened, Problem>> {
        async move {
            let schema = to.schema.unwrap_or_default();
            let store = Arc::new(SqliteStore::open(&self.0.join(&schema)).unwrap());
            Ok(Opened {
                rows: store,
                blobs: blobs(&self.0),
                shared: to.engine == "postgres",
                place: schema,
                metas: vec![("seal-key".to_owned(), "k".into())],
                config: String::new(),
            })
        }
        .boxed()
    }
}

fn blobs(place: &Path) -> Arc<DirectoryBlobs> {
    Arc::new(DirectoryBlobs::open(&place.join("blobs")).unwrap())
}

async fn start(place: &Path) -> Arc<Logic> {
    let store = Arc::new(SqliteStore::open(&place.join("first")).unwrap());
    let config = LogicConfig {
        seal_key: SealKey([7; 32]),
        tokens: sengu_logic::Tokens {
            operator: "token".to_owned(),
            viewer: "viewer".to_owned(),
        },
        bundled: Vec::new(),
        bundles: Arc::new(NoBundles),
        blobs: blobs(place),
        sengu_version: "0".to_owned(),
        interconnect: "embedded".to_owned(),
        roles: Vec::new(),
        retention_ms: 86_400_000,
        audit_retention_ms: 86_400_000,
        followers: Vec::new(),
        moving: Some(Movable {
            rows: Some(store.clone()),
            place: "first".to_owned(),
            name: "one".to_owned(),
            url: "http://one".to_owned(),
            opener: Arc::new(Folders(place.to_owned())),
        }),
    };
    Logic::start(config, store, Arc::new(MemoryBroker::new()))
        .await
        .unwrap()
}

async fn moves(logic: &Logic, engine: &str, schema: &str) {
    let to = MoveTo {
        engine: engine.to_owned(),
        url: None,
        password_file: None,
        ca: None,
        schema: Some(schema.to_owned()),
    };
    logic.move_store(to).await.unwrap();
    let until = Instant::now() + LIMIT;
    loop {
        let last = logic.shared.moves.last().unwrap();
        if let Some(end) = last.end {
            assert_eq!(end.error, None);
            return;
        }
        assert!(Instant::now() < until, "the move ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn write(logic: &Logic, name: &str) {
    let put = logic.shared.put_own("Run", name, json!({}), json!({}));
    put.await.unwrap();
}

#[tokio::test]
async fn the_seat_moves_along_and_back_and_nobody_starts_on_what_has_moved() {
    let place = tempfile::tempdir().unwrap();
    let logic = start(place.path()).await;
    write(&logic, "r-1").await;
    moves(&logic, "postgres", "second").await;
    assert!(logic.shared.seat.holds());
    write(&logic, "r-2").await;

    // The first store is free again, and refused.
    let first = SqliteStore::open(&place.path().join("first")).unwrap();
    let refused = Seat::alone(&first).await;
    assert!(matches!(refused, Err(StoreError::Moved { .. })));
    drop(first);

    // In the second one the beat moves: a standby waits.
    let store: &dyn Store = &*logic.shared.store;
    let leader = store.meta("leader").await.unwrap().unwrap();
    let until = Instant::now() + LIMIT;
    while store.meta("leader").await.unwrap().unwrap() == leader {
        assert!(Instant::now() < until, "the seat is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = logic.shared.switch.current().store;
    let standing = tokio::spawn(async move {
        let (holder, _) = watch::channel(None);
        let stood = leader::stand_by(&*second, "two", "http://two", &holder).await;
        stood.map(drop)
    });
    write(&logic, "r-3").await;
    assert!(!standing.is_finished());

    moves(&logic, "sqlite", "third").await;
    let ended = tokio::time::timeout(LIMIT, standing).await;
    let ended = ended.expect("nothing is left to stand by for").unwrap();
    assert!(matches!(ended, Err(StoreError::Moved { .. })), "{ended:?}");
    assert!(logic.shared.seat.holds());
    write(&logic, "r-4").await;
    logic.stop().await;

    let third = SqliteStore::open(&place.path().join("third")).unwrap();
    let runs = third.records("Run", None, 10).await.unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["r-1", "r-2", "r-3", "r-4"]);
    assert!(
        third.meta("leader").await.unwrap().is_none(),
        "nobody keeps a seat there"
    );
    Seat::alone(&third)
        .await
        .expect("the next life starts there");
}
