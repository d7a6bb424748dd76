//! Which runtime runs an image: the first that it declares and that is here, and another one once that is gone.

mod common;

use common::{House, config, offer, well};
use futures::future::BoxFuture;
use sengu_execution::Runtime;
use sengu_execution::runtime::{Attached, Handle, Image, RuntimeError};
use sengu_interconnect::MemoryBroker;
use sengu_model::Effect;
use sengu_model::wire::envelope::{Event, WorkerOffer};
use sengu_runtime_process::ProcessRuntime;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Processes under another name, behind an engine that may be away.
struct Engine {
    processes: ProcessRuntime,
    there: Arc<AtomicBool>,
}

impl Runtime for Engine {
    fn name(&self) -> &str {
        "docker"
    }
    fn isolation(&self) -> Vec<String> {
        Vec::new()
    }
    fn fits(&self, image: &Image) -> bool {
        image.declares("docker").is_some() && self.there.load(Ordering::SeqCst)
    }
    fn prepare(&self, image: Image) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.processes.prepare(image)
    }
    fn start(&self, image: Image, label: String) -> BoxFuture<'_, Result<Handle, RuntimeError>> {
        if !self.there.load(Ordering::SeqCst) {
            let away = RuntimeError::Engine("the engine is away".to_owned());
            return Box::pin(std::future::ready(Err(away)));
        }
        self.processes.start(image, label)
    }
    fn attach(&self, handle: Handle) -> BoxFuture<'_, Result<Attached, RuntimeError>> {
        self.processes.attach(handle)
    }
    fn stop(&self, handle: Handle) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.processes.stop(handle)
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Handle>, RuntimeError>> {
        self.processes.list()
    }
}

/// A house whose WEE has processes and an engine.
async fn house(there: &Arc<AtomicBool>) -> House {
    let broker = Arc::new(MemoryBroker::new());
    // The one that comes with the house is not used.
    let mut house = House::behind(broker.clone(), broker.clone(), |_| {}).await;
    house.wee.take().expect("just started").drain().await;
    let home: &Path = house.state.path();
    let engine = Engine {
        processes: ProcessRuntime::new(home.join("engine")),
        there: there.clone(),
    };
    let runtimes: Vec<Arc<dyn Runtime>> = vec![house.runtime.clone(), Arc::new(engine)];
    house.wee = Some(sengu_execution::start(
        config("wee-1", home),
        broker,
        runtimes,
    ));
    house
}

fn declaring(runtimes: &str) -> WorkerOffer {
    let mut manifest = well("well", "1.0.0");
    manifest.runtimes = serde_json::from_str(runtimes).expect("runtimes");
    offer(&manifest, "sha256:v1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_declared_one_that_is_here_runs_it() {
    let there = Arc::new(AtomicBool::new(true));
    for (engine_there, runtime) in [(true, "docker"), (false, "process")] {
        there.store(engine_there, Ordering::SeqCst);
        let mut house = house(&there).await;
        house
            .offer_as(&declaring(r#"[{"name":"docker"},{"name":"process"}]"#))
            .await;
        let ask = house.ask("well", "go", Effect::Once);
        assert_eq!(house.run(&ask).await.event, Event::Ended);
        house.pool_until("well", |p| p.runtime == runtime).await;
        house.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_recovers_by_itself_when_its_engine_comes() {
    let there = Arc::new(AtomicBool::new(false));
    let mut house = house(&there).await;
    house.offer_as(&declaring(r#"[{"name":"docker"}]"#)).await;
    let pool = house.pool_until("well", |p| p.broken.is_some()).await;
    let why = pool.broken.expect("it is");
    assert!(
        why.contains("it declares docker; here: process, docker (cannot run it now)"),
        "{why}"
    );
    there.store(true, Ordering::SeqCst);
    house.pool_until("well", |p| p.broken.is_none()).await;
    let ask = house.ask("well", "go", Effect::Once);
    assert_eq!(house.run(&ask).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_goes_leaves_the_work_to_the_next_runtime() {
    let there = Arc::new(AtomicBool::new(true));
    let mut house = house(&there).await;
    let mut offered = declaring(r#"[{"name":"docker"},{"name":"process"}]"#);
    offered.pool.max_tasks = 1;
    house.offer_as(&offered).await;
    let first = house.ask("well", "go", Effect::Once);
    assert_eq!(house.run(&first).await.event, Event::Ended);
    there.store(false, Ordering::SeqCst);
    // The next instance cannot be started there.
    let next = house.ask("well", "go", Effect::Once);
    assert_eq!(house.run(&next).await.event, Event::Ended);
    house.pool_until("well", |p| p.runtime == "process").await;
    house.close().await;
}
