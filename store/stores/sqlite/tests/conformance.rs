//! SQLite passes the suite of the Store port.

use sengu_store::Store;
use sengu_store_sqlite::SqliteStore;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let count = std::sync::atomic::AtomicU32::new(0);
    sengu_store::conformance::run(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = place.path().join(number.to_string());
        async move {
            let store = SqliteStore::open(&directory).expect("open an empty store");
            Arc::new(store) as Arc<dyn Store>
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_moved_into_another() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let from = SqliteStore::open(&place.path().join("from")).expect("open");
    let to = SqliteStore::open(&place.path().join("to")).expect("open");
    sengu_store::conformance::moving::run(&from, &to).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_moved_into_another_while_work_goes_on() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let open = |name: &str| Arc::new(SqliteStore::open(&place.path().join(name)).expect("open"));
    sengu_store::conformance::mover::run(open("from"), open("to")).await;
    sengu_store::conformance::mover::confirms(&*open("copy")).await;
}
