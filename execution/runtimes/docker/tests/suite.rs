//! The docker runtime passes the runtimes' suite against a real engine, and keeps what it says of isolation.

mod engine;

use engine::Engine;
use sengu_execution::conformance::{self, Mirror};
use sengu_execution::runtime::Runtime;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let engine = Engine::start();
    let open = |_| {
        let runtime: Arc<dyn Runtime> = Arc::new(engine.runtime("suite"));
        std::future::ready(runtime)
    };
    let mirror = Mirror {
        image: engine.mirror(),
        // They die with the container, uncounted; `children_end_with_their_container` looks.
        has_children: false,
    };
    conformance::run(open, mirror).await;
    assert_eq!(
        engine.containers(),
        [""; 0],
        "nothing is left in the engine"
    );
}
