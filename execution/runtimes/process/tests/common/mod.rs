//! What the tests of the process runtime share. Each of them uses a part of it.
#![allow(dead_code)]

use sengu_execution::runtime::{Exit, Image, Resources, Runtime, RuntimeDecl};
use sengu_runtime_process::ProcessRuntime;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

pub const LIMIT: Duration = Duration::from_secs(30);

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

pub fn image(command: &[&str]) -> Image {
    Image {
        kind: "mirror".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:mirror".to_owned(),
        folder: folder(),
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        runtimes: vec![RuntimeDecl {
            name: "process".to_owned(),
            archive: None,
            component: None,
        }],
        resources: Resources::default(),
        slots: 1,
    }
}

pub fn script(text: &str) -> Image {
    image(&["sh", "-c", text])
}

/// What an instance wrote, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub out: String,
    pub err: String,
    pub exit: Exit,
}

/// Runs an instance to its end.
pub async fn end(runtime: &ProcessRuntime, image: Image) -> Ended {
    let handle = runtime
        .start(image, "sh@1.0.0/1".to_owned())
        .await
        .expect("start");
    let mut attached = runtime.attach(handle).await.expect("attach");
    let (mut out, mut err) = (String::new(), String::new());
    let read = async {
        tokio::join!(
            attached.stdout.read_to_string(&mut out),
            attached.stderr.read_to_string(&mut err),
            attached.exit
        )
    };
    let (_, _, exit) = tokio::time::timeout(LIMIT, read).await.expect("an end");
    Ended { out, err, exit }
}

/// What a shell script writes.
pub async fn output(runtime: &ProcessRuntime, text: &str) -> String {
    end(runtime, script(text)).await.out
}

pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let last = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < last, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Gone, or only waiting for its parent to notice.
pub fn is_dead(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |text| {
        text.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}

/// The control groups of the only instance remembered in `state`.
pub fn groups(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("instances"))
        .into_iter()
        .flatten()
        .flatten();
    let mut files = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"));
    let text = std::fs::read_to_string(files.next().expect("an instance")).expect("its file");
    let remembered: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let groups = remembered["groups"].as_array().expect("groups");
    groups
        .iter()
        .filter_map(|g| g.as_str())
        .map(PathBuf::from)
        .collect()
}
