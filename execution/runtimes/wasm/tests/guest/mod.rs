//! Guests made of WAT text, and a runtime to run them.
#![allow(dead_code, clippy::unwrap_used)] // Each test program uses its part, and this is a test.

use sengu_execution::runtime::{Attached, Handle, Image, Resources, Runtime, RuntimeDecl};
use sengu_model::TaskId;
use sengu_runtime_wasm::WasmRuntime;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use wit_component::{ComponentEncoder, StringEncoding};

const MANIFEST: &str = r#"
name = "speaker"
version = "1.0.0"
protocol = 1
slots = 8
action = [
    { name = "mirror", effect = "read" },
    { name = "get", effect = "read" },
    { name = "spin", effect = "read" },
    { name = "trap", effect = "read" },
    { name = "post", effect = "once" },
    { name = "post-trap", effect = "once" },
]
[[runtime]]
name = "wasm"
component = "speaker.wasm"
"#;

pub const SPEAKER: &str = include_str!("speaker.wat");

/// The component of a core module in WAT that fits the world `worker`.
pub fn component(wat: &str) -> Vec<u8> {
    component_of(wat, None)
}

/// One that imports an interface more, of a package that is given as WIT.
pub fn component_with(wat: &str, package: &str, import: &str) -> Vec<u8> {
    component_of(wat, Some((package, import)))
}

fn component_of(wat: &str, more: Option<(&str, &str)>) -> Vec<u8> {
    let mut module = wat::parse_str(wat).expect("WAT");
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (mut package, _) = resolve.push_path(wit).expect("WIT");
    let mut name = "worker";
    if let Some((of, import)) = more {
        resolve.push_str("more.wit", of).expect("WIT");
        let text = format!(
            "package test:more;\nworld more {{ include sengu:worker/worker@1.0.0; import {import}; }}"
        );
        package = resolve.push_str("world.wit", &text).expect("WIT");
        name = "more";
    }
    let world = resolve
        .select_world(&[package], Some(name))
        .expect("a world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("metadata");
    let encoder = ComponentEncoder::default().validate(true);
    let encoded = encoder.module(&module).and_then(|mut e| e.encode());
    encoded.expect("a component")
}

/// An image folder with this component, and a state directory.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new(component: &[u8]) -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(place.folder()).unwrap();
        std::fs::write(place.folder().join("worker.toml"), MANIFEST).unwrap();
        place.put(component);
        place
    }

    pub fn put(&self, component: &[u8]) {
        std::fs::write(self.folder().join("speaker.wasm"), component).unwrap();
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn runtime(&self) -> WasmRuntime {
        let compiler = env!("CARGO_BIN_EXE_sengu-wasm-compile");
        WasmRuntime::new(self.state(), vec![compiler.into()])
    }

    pub fn image(&self) -> Image {
        Image {
            kind: "speaker".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "sha256:speaker".to_owned(),
            folder: self.folder(),
            command: Vec::new(),
            runtimes: vec![RuntimeDecl {
                name: "wasm".to_owned(),
                archive: None,
                component: Some("speaker.wasm".to_owned()),
            }],
            resources: Resources {
                memory_mb: 64,
                ..Resources::default()
            },
            slots: 8,
        }
    }
}

/// All that a task gave.
#[derive(Debug, Default, PartialEq)]
pub struct Ended {
    pub outcome: Value,
    pub readings: Vec<Value>,
    pub facts: serde_json::Map<String, Value>,
}

/// A started instance, spoken to in frames.
pub struct Live {
    pub handle: Handle,
    pub attached: Attached,
    lines: Lines<BufReader<sengu_execution::runtime::Output>>,
    next: u64,
    pub logs: Vec<String>,
}

impl Live {
    pub async fn start(runtime: &dyn Runtime, image: Image) -> Live {
        let started = runtime.start(image, "speaker@1.0.0/1".to_owned()).await;
        let handle = started.unwrap_or_else(|e| panic!("{}", e.text()));
        let mut attached = runtime.attach(handle.clone()).await.unwrap();
        let nothing: sengu_execution::runtime::Output = Box::pin(tokio::io::empty());
        let stdout = std::mem::replace(&mut attached.stdout, nothing);
        let mut live = Live {
            handle,
            attached,
            lines: BufReader::new(stdout).lines(),
            next: 0,
            logs: Vec::new(),
        };
        assert_eq!(live.line().await["type"], "hello");
        live
    }

    /// Runs one task with secrets to its end.
    pub async fn run(
        &mut self,
        target: &Value,
        secrets: &Value,
        action: &str,
        params: Value,
    ) -> Ended {
        self.next += 1;
        let task = json!({
            "type": "task", "id": TaskId(self.next), "fence": "1.1", "action": action,
            "params": params, "target": target, "secrets": secrets, "timeout_ms": 60_000,
        });
        self.say(&task).await;
        let mut ended = Ended::default();
        loop {
            let line = self.line().await;
            match line["type"].as_str() {
                Some("outcome") => {
                    ended.outcome = line["outcome"].clone();
                    return ended;
                }
                Some("reading") => {
                    ended
                        .readings
                        .extend(line["readings"].as_array().cloned().unwrap_or_default());
                    if let Some(facts) = line["facts"].as_object() {
                        ended.facts.extend(facts.clone());
                    }
                }
                _ => {}
            }
        }
    }

    pub async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line());
        let line = line.await.expect("a line in time").unwrap();
        serde_json::from_str(&line.expect("a line")).unwrap()
    }

    /// Hands over a task and gives its number.
    pub async fn begin(&mut self, action: &str, params: Value, target: Value) -> u64 {
        self.begin_for(action, params, target, 60_000).await
    }

    pub async fn begin_for(
        &mut self,
        action: &str,
        params: Value,
        target: Value,
        timeout_ms: u64,
    ) -> u64 {
        self.next += 1;
        let task = json!({
            "type": "task", "id": TaskId(self.next), "fence": "1.1", "action": action,
            "params": params, "target": target, "timeout_ms": timeout_ms,
        });
        self.say(&task).await;
        self.next
    }

    pub async fn say(&mut self, frame: &Value) {
        let bytes = format!("{frame}\n");
        self.attached
            .stdin
            .write_all(bytes.as_bytes())
            .await
            .unwrap();
    }

    /// The next outcome.
    pub async fn outcome(&mut self) -> Value {
        loop {
            let line = self.line().await;
            match line["type"].as_str() {
                Some("outcome") => return line["outcome"].clone(),
                Some("log") => {
                    let message = line["message"].as_str().unwrap_or_default();
                    self.logs.push(message.to_owned());
                }
                _ => {}
            }
        }
    }

    pub async fn call(&mut self, action: &str, params: Value, target: Value) -> Value {
        self.begin(action, params, target).await;
        self.outcome().await
    }
}

pub fn nowhere() -> Value {
    json!({"name": "one", "address": "127.0.0.1:1"})
}
