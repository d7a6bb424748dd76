//! PostgreSQL passes the suites of both ports.

mod common;

use sengu_store::Store;
use sengu_store::blobs::Blobs;
use sengu_store_postgres::PostgresBlobs;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    sengu_store::conformance::run(|| async {
        let store = common::open(&common::server().settings()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite_of_blobs() {
    sengu_store::conformance::blobs::run(|| async {
        let blobs = PostgresBlobs::open(&common::server().settings()).await;
        Arc::new(blobs.expect("open")) as Arc<dyn Blobs>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_blobs() {
    let settings = common::server().settings();
    let one = PostgresBlobs::open(&settings).await.expect("open");
    let store = common::open(&settings).await;
    let other = store.blobs();
    let mut writer = one.create().await.expect("create");
    writer.write("hello".into()).await.expect("write");
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    writer.finish(digest.to_owned()).await.expect("finish");
    assert_eq!(other.read(digest, 1, 3).await.expect("read"), "ell");
    other.delete(digest).await.expect("delete");
    assert_eq!(one.size(digest).await.expect("size"), None);
}

/// There and back, between two engines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_moved_from_and_into_another_engine() {
    use sengu_store_sqlite::SqliteStore;
    let place = tempfile::tempdir().expect("a temporary directory");
    let sqlite = |name: &str| SqliteStore::open(&place.path().join(name)).expect("open");
    let postgres = common::open(&common::server().settings()).await;
    sengu_store::conformance::moving::run(&sqlite("from"), &postgres).await;
    let postgres = common::open(&common::server().settings()).await;
    sengu_store::conformance::moving::run(&postgres, &sqlite("to")).await;
}

/// There and back, while work goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_moved_from_and_into_another_engine_while_work_goes_on() {
    use sengu_store::conformance::mover;
    use sengu_store_sqlite::SqliteStore;
    let place = tempfile::tempdir().expect("a temporary directory");
    let sqlite = |name: &str| Arc::new(SqliteStore::open(&place.path().join(name)).expect("open"));
    let postgres = Arc::new(common::open(&common::server().settings()).await);
    mover::run(sqlite("from"), postgres).await;
    let postgres = Arc::new(common::open(&common::server().settings()).await);
    mover::run(postgres, sqlite("to")).await;
}
