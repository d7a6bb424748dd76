//! The workers that are shipped as components: they pass the workers' kit, and do what they do as a process.
#![allow(clippy::unwrap_used)] // Its helpers are part of the tests.

mod guest;

use guest::{Ended, Live};
use sengu_execution::check::{Verdict, check};
use sengu_execution::runtime::{Image, Manifest, Runtime};
use sengu_runtime_process::ProcessRuntime;
use sengu_runtime_wasm::WasmRuntime;
use sengu_sdk::testing::TwinProcess;
use serde_json::{Value, json};
use std::path::PathBuf;

const SHIPPED: [&str; 2] = ["echo", "http"];

/// A staged worker with its component.
fn staged(kind: &str) -> (Manifest, PathBuf) {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap().join("workers").join(kind);
    assert!(
        folder.join(format!("{kind}.wasm")).is_file(),
        "{} has no component: run `cargo xtask test`, which installs what compiles it and stages it",
        folder.display()
    );
    let text = std::fs::read_to_string(folder.join("worker.toml")).unwrap();
    (Manifest::parse(&text).unwrap(), folder)
}

fn runtime(state: &tempfile::TempDir) -> WasmRuntime {
    let compiler = env!("CARGO_BIN_EXE_sengu-wasm-compile");
    WasmRuntime::new(state.path().join("wasm"), vec![compiler.into()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_components_pass_the_kit_of_workers() {
    let state = tempfile::tempdir().unwrap();
    for kind in SHIPPED {
        let (manifest, folder) = staged(kind);
        for check in check(&runtime(&state), &manifest, &folder).await {
            assert_eq!(check.verdict, Verdict::Passed, "{kind}: {check:?}");
        }
    }
}

/// Starts the worker in both runtimes.
async fn both(kind: &str, state: &tempfile::TempDir) -> ([Live; 2], [Box<dyn Runtime>; 2]) {
    let (manifest, folder) = staged(kind);
    let image = Image::of(&manifest, "sha256:staged".to_owned(), folder);
    let process = ProcessRuntime::new(state.path().join("process"));
    let wasm = runtime(state);
    let live = [
        Live::start(&process, image.clone()).await,
        Live::start(&wasm, image).await,
    ];
    (live, [Box::new(process), Box::new(wasm)])
}

async fn in_both(
    live: &mut [Live; 2],
    target: &Value,
    secrets: &Value,
    action: &str,
    params: Value,
) -> [Ended; 2] {
    let [process, wasm] = live;
    [
        process.run(target, secrets, action, params.clone()).await,
        wasm.run(target, secrets, action, params).await,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_does_as_a_component_what_it_does_as_a_process() {
    let state = tempfile::tempdir().unwrap();
    let (mut live, _runtimes) = both("echo", &state).await;
    let target = json!({"name": "one", "address": "anywhere"});
    for (action, params) in [
        ("observe", json!({})),
        ("noop", json!({})),
        ("once", json!({"sleep_ms": 20})),
        ("say", json!({"text": "a \"word\"\nand more"})),
        ("no-such", json!({})),
    ] {
        let [process, wasm] = in_both(&mut live, &target, &json!({}), action, params).await;
        assert_eq!(process, wasm, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_does_as_a_component_what_it_does_as_a_process() {
    let state = tempfile::tempdir().unwrap();
    let (_, folder) = staged("http");
    let program = folder.join("sengu-worker-http");
    let mut twin = TwinProcess::start(program.to_str().unwrap(), &["--count", "8"]);
    let (mut live, _runtimes) = both("http", &state).await;
    // Values move on between two looks; which there are does not.
    let names = |ended: &Ended| {
        let name = |reading: &Value| format!("{} {}", reading["name"], reading["labels"]);
        let mut names: Vec<String> = ended.readings.iter().map(name).collect();
        names.sort();
        let facts: Vec<&String> = ended.facts.keys().collect();
        format!("{} {names:?} {facts:?}", ended.outcome["status"])
    };
    let mut readings = 0;
    for (frame, secrets) in twin.targets() {
        let (target, secrets) = (json!(frame), json!(secrets));
        let [process, wasm] = in_both(&mut live, &target, &secrets, "observe", json!({})).await;
        assert_eq!(process.outcome["status"], "done", "{process:?}");
        assert_eq!(names(&process), names(&wasm), "{}", frame.name);
        readings += wasm.readings.len();
        let mut stranger = target.clone();
        stranger["identity"] = json!({"certSha256": "ab".repeat(32)});
        let [process, wasm] = in_both(&mut live, &stranger, &secrets, "observe", json!({})).await;
        assert_eq!(
            process.outcome["code"], wasm.outcome["code"],
            "{process:?} {wasm:?}"
        );
        let mut nobody = target.clone();
        nobody["address"] = json!("https://127.0.0.1:1");
        let [process, wasm] = in_both(&mut live, &nobody, &secrets, "observe", json!({})).await;
        assert_eq!(
            process.outcome["code"], wasm.outcome["code"],
            "{process:?} {wasm:?}"
        );
    }
    assert!(readings > 20, "{readings} readings");
    let seen = twin.report();
    assert!(seen.values().all(|target| target.requests > 0), "{seen:?}");
}
