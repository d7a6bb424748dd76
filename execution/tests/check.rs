//! The conformance kit passes good workers, in Rust and in Python, and says of bad ones what is wrong.

mod common;

use common::{bad, echo, workspace};
use sengu_execution::check::{Check, Verdict, check};
use sengu_model::manifest::Manifest;
use sengu_runtime_process::ProcessRuntime;
use std::path::Path;

async fn checked(manifest: &Manifest, folder: &Path) -> Vec<Check> {
    let state = tempfile::tempdir().expect("a temporary directory");
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let checks = check(&runtime, manifest, folder).await;
    let left = std::fs::read_dir(state.path().join("instances")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no instance is left");
    checks
}

fn failed(checks: &[Check]) -> Vec<String> {
    let failed = checks.iter().filter(|c| c.verdict == Verdict::Failed);
    failed
        .map(|c| format!("{}: {}", c.claim, c.detail))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_worker_passes() {
    let (manifest, folder) = echo();
    let checks = checked(&manifest, &folder).await;
    assert_eq!(checks.len(), 13);
    assert!(
        checks.iter().all(|c| c.verdict == Verdict::Passed),
        "{checks:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_in_python_passes() {
    let folder = workspace().join("workers/foreign");
    let text = std::fs::read_to_string(folder.join("worker.toml")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let checks = checked(&manifest, &folder).await;
    assert_eq!(failed(&checks), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_workers_are_told_what_is_wrong() {
    let table = [
        ("liar-version", "version is \"9.9.9\", not \"1.0.0\""),
        ("liar-protocol", "protocol is 7, not 1"),
        (
            "stillborn",
            "it ended with exit status 4; its last line on stderr: no licence for cheese",
        ),
        ("garbage", "lines were no frames"),
        ("odd-outcome", "unknown status \"splendid\""),
        ("deaf-to-drain", "it was still there 10 s after drain"),
        ("exits", "not failed with code refused"),
        ("slow-to-speak", "beats in 11 s"),
        ("twice", "2 outcomes of task"),
        ("dies-of-news", "it ended with exit status 1"),
    ];
    let all = table.map(|(name, part)| async move {
        let (manifest, folder) = bad(name);
        let failed = failed(&checked(&manifest, &folder).await);
        assert!(
            failed.iter().any(|f| f.contains(part)),
            "{name}: {failed:#?}"
        );
    });
    futures::future::join_all(all).await;
}
