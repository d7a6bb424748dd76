//! The WASM runtime passes the suite of runtimes that speak frames, and a worker on it passes the workers' kit.

mod guest;

use guest::{Place, SPEAKER, component};
use sengu_execution::check::{Verdict, check};
use sengu_execution::conformance::frames::{Speaker, run};
use sengu_execution::runtime::{Manifest, Runtime};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite_of_frames() {
    let place = Place::new(&component(SPEAKER));
    let open = |_| {
        let runtime: Arc<dyn Runtime> = Arc::new(place.runtime());
        std::future::ready(runtime)
    };
    let speaker = Speaker {
        image: place.image(),
        outlives: false,
    };
    run(open, speaker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_passes_the_kit_of_workers() {
    let place = Place::new(&component(SPEAKER));
    let text = std::fs::read_to_string(place.folder().join("worker.toml")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let checks = check(&place.runtime(), &manifest, &place.folder()).await;
    assert!(checks.len() > 10, "{checks:?}");
    for check in checks {
        assert_eq!(check.verdict, Verdict::Passed, "{check:?}");
    }
}
