//! The docker runtime passes the runtimes' suite against a real engine, and keeps what it says of isolation.

mod engine;

use engine::Engine;
use engine::live::{Live, until};
use sengu_execution::conformance::{self, Mirror};
use sengu_execution::runtime::{Image, Runtime};
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
        // They die with the container, uncounted; the test below looks.
        has_children: false,
    };
    conformance::run(open, mirror).await;
    until("nothing left in the engine", || {
        engine.containers().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_sees_only_what_it_must_and_takes_only_what_it_may() {
    let engine = Engine::start();
    let runtime = engine.runtime("isolation");
    let image = engine.mirror();
    let mut live = Live::start(&runtime, &image).await;
    let words = runtime.isolation();
    assert!(
        words
            .iter()
            .any(|word| word.starts_with("not enforced: network")),
        "{words:?}"
    );

    assert_eq!(live.answer("folder").await, "/worker");
    assert_eq!(live.answer("env HOME").await, "/tmp");
    assert_eq!(
        live.answer("env PATH").await,
        "/usr/local/bin:/usr/bin:/bin"
    );
    assert_eq!(live.answer("uid").await, "65534");
    assert_eq!(
        live.answer("write /worker/file").await,
        "Read-only file system"
    );
    assert_eq!(live.answer("write /file").await, "Read-only file system");
    assert_eq!(live.answer("write file").await, "written");
    assert_eq!(live.answer("write /tmp/other").await, "written");
    for (word, file, wanted) in [
        ("CapEff", "/proc/self/status", "CapEff:\t0000000000000000"),
        ("CapBnd", "/proc/self/status", "CapBnd:\t0000000000000000"),
        ("NoNewPrivs", "/proc/self/status", "NoNewPrivs:\t1"),
        ("Seccomp:", "/proc/self/status", "Seccomp:\t2"),
        ("core", "/proc/self/limits", "Max core file size        0"),
        (
            "open",
            "/proc/self/limits",
            "Max open files            8192",
        ),
    ] {
        let line = live.answer(&format!("grep {word} {file}")).await;
        assert!(line.starts_with(wanted), "{line}");
        while live.line().await != "end" {}
    }
    let told = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} \
                {{.HostConfig.NanoCpus}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.NetworkMode}}";
    let told = &engine.lines(&["inspect", "--format", told, &live.handle.0])[0];
    let cpus = std::thread::available_parallelism().unwrap().get() as u64 * 1_000_000_000;
    let memory = 64 << 20;
    assert_eq!(*told, format!("{memory} {memory} 33 {cpus} none host"));

    live.say("eat 100").await;
    let (exit, _) = live.end().await;
    assert!(!exit.clean);
    assert_eq!(
        exit.why,
        "killed by the kernel: over its memory limit of 64 MB"
    );
    until("its removal", || engine.containers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_its_container_and_nothing_it_said_is_lost() {
    let engine = Engine::start();
    let runtime = engine.runtime("ends");
    let image = engine.mirror();

    let mut live = Live::start(&runtime, &image).await;
    assert_eq!(live.answer("child").await, "child");
    runtime.stop(live.handle.clone()).await.expect("stop");
    // The child holds the streams open as long as it lives.
    assert!(!live.end().await.0.clean);

    let mut live = Live::start(&runtime, &image).await;
    assert_eq!(live.answer("child").await, "child");
    live.say("exit 0").await;
    assert!(live.end().await.0.clean);

    // Read only after the container is removed.
    let mut live = Live::start(&runtime, &image).await;
    live.say("flood 10000").await;
    live.say("exit 0").await;
    let (exit, rest) = live.end().await;
    assert!(exit.clean, "{exit:?}");
    assert_eq!(rest.lines().count(), 10_000);
    assert!(rest.ends_with("flood 9999\n"));

    // A start that nobody waits for any more leaves nothing behind.
    let (runtime, image) = (Arc::new(runtime), image);
    let (starter, started): (_, Image) = (runtime.clone(), image.clone());
    let start = tokio::spawn(async move { starter.start(started, "x".to_owned()).await });
    until("a container", || !engine.containers().is_empty()).await;
    start.abort();
    if let Ok(Ok(handle)) = start.await {
        // It was quicker than that.
        runtime.stop(handle).await.expect("it ends");
    }
    drop(runtime);
    until("no container", || engine.containers().is_empty()).await;
}
