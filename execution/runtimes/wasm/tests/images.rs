//! What is compiled, kept and refused of images.

#![allow(clippy::unwrap_used)] // Its helpers are part of the tests.

mod guest;

use guest::{Live, Place, SPEAKER, component, nowhere};
use sengu_execution::runtime::Runtime;
use sengu_runtime_wasm::WasmRuntime;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn compiled(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.state().join("compiled")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect();
    paths.sort();
    paths
}

async fn refused(place: &Place) -> String {
    let runtime = place.runtime();
    let refused = runtime.prepare(place.image()).await.unwrap_err();
    assert!(compiled(place).is_empty());
    refused.text()
}

/// A runtime that cannot compile.
fn without_compiler(place: &Place) -> WasmRuntime {
    WasmRuntime::new(place.state(), vec!["/bin/false".into()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compiled_is_used_by_the_next_life_and_only_as_it_was_written() {
    let place = Place::new(&component(SPEAKER));
    place.runtime().prepare(place.image()).await.unwrap();
    let [file] = &compiled(&place)[..] else {
        panic!("one file");
    };
    for path in [
        file.clone(),
        place.state().join("compiled"),
        place.state().join("compiled/key"),
    ] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is private", path.display());
    }
    without_compiler(&place)
        .prepare(place.image())
        .await
        .unwrap();

    // One bit of machine code is another.
    let whole = std::fs::read(file).unwrap();
    let mut other = whole.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    for changed in [&other[..], &whole[..whole.len() - 1], &whole[..10], &[]] {
        std::fs::write(file, changed).unwrap();
        let refused = without_compiler(&place).prepare(place.image()).await;
        assert!(refused.is_err(), "{} bytes are not loaded", changed.len());
    }
    // What was proved under another name is not this.
    let another = file.with_file_name("another.cwasm");
    place.runtime().prepare(place.image()).await.unwrap();
    std::fs::rename(file, &another).unwrap();
    std::fs::rename(&another, file).unwrap();
    without_compiler(&place)
        .prepare(place.image())
        .await
        .unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let zeros = format!("{}{}", "0".repeat(64), &name[64..]);
    std::fs::rename(file, file.with_file_name(zeros)).unwrap();
    assert!(
        without_compiler(&place)
            .prepare(place.image())
            .await
            .is_err()
    );
    // Nor what was proved by another key.
    place.runtime().prepare(place.image()).await.unwrap();
    std::fs::write(place.state().join("compiled/key"), [7; 32]).unwrap();
    assert!(
        without_compiler(&place)
            .prepare(place.image())
            .await
            .is_err()
    );
    // And it is compiled again where there is a compiler.
    let runtime = place.runtime();
    let mut live = Live::start(&runtime, place.image()).await;
    let answer = live.call("mirror", json!(1), nowhere()).await;
    assert_eq!(answer["result"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_code_that_comes_with_an_image_is_never_loaded() {
    let place = Place::new(&component(SPEAKER));
    place.runtime().prepare(place.image()).await.unwrap();
    let file = compiled(&place).remove(0);
    let machine_code = std::fs::read(&file).unwrap().split_off(32);
    std::fs::remove_file(&file).unwrap();
    place.put(&machine_code);
    let why = refused(&place).await;
    assert!(why.contains("no WASM component"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_for_this_world_is_refused_with_the_reason() {
    let place = Place::new(b"\0asm\x01\0\0\0");
    assert!(refused(&place).await.contains("cannot be used"));
    place.put(&component(SPEAKER)[..1000]);
    assert!(refused(&place).await.contains("cannot be used"));
    place.put(&wat::parse_str("(component)").unwrap());
    let why = place.runtime().prepare(place.image()).await.unwrap_err();
    assert!(why.text().contains("run"), "{}", why.text());
    let stranger = r#"(component (import "evil:host/files" (instance (export "open" (func)))))"#;
    place.put(&wat::parse_str(stranger).unwrap());
    let why = place.runtime().prepare(place.image()).await.unwrap_err();
    assert!(why.text().contains("evil:host/files"), "{}", why.text());
    std::fs::remove_file(place.folder().join("speaker.wasm")).unwrap();
    assert!(place.runtime().prepare(place.image()).await.is_err());
    let mut image = place.image();
    image.runtimes[0].component = None;
    assert!(place.runtime().prepare(image).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_under_the_same_name_is_another_component() {
    let place = Place::new(&component(SPEAKER));
    let runtime = place.runtime();
    let mut first = Live::start(&runtime, place.image()).await;
    // The same answers, but for one word of the trap.
    place.put(&component(&SPEAKER.replace("on purpose", "by default")));
    let mut second = Live::start(&runtime, place.image()).await;
    let words = first.call("words", json!({}), nowhere()).await;
    assert_eq!(words["message"], "on purpose");
    let words = second.call("words", json!({}), nowhere()).await;
    assert_eq!(words["message"], "by default");
    assert_eq!(compiled(&place).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_wasi_would_give_is_not_there() {
    let core = r#"
        (module
          (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
          (memory (export "memory") 2)
          (data (i32.const 16) "{\22status\22:\22done\22}")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
          (func (export "run") (param $task i32) (result i32)
            (if (i32.eq (i32.load offset=12 (local.get $task)) (i32.const 6)) (then (drop (call $now))))
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const 17))
            (i32.const 0)))"#;
    let place = Place::new(&guest::component_with(
        core,
        "package wasi:clocks@0.2.0;\ninterface monotonic-clock { now: func() -> u64; }",
        "wasi:clocks/monotonic-clock@0.2.0",
    ));
    let runtime = place.runtime();
    let mut live = Live::start(&runtime, place.image()).await;
    assert_eq!(
        live.call("spin", json!({}), nowhere()).await["status"],
        "done"
    );
    let mirror = live.call("mirror", json!({}), nowhere()).await;
    assert_eq!(mirror["code"], "crashed", "{mirror}");
    let message = mirror["message"].as_str().unwrap();
    assert!(message.contains("wasi:clocks/monotonic-clock"), "{message}");
}
