//! The workers that are shipped: each keeps the protocol, as the kit that authors use sees it.

use sengu_e2e::folder;
use std::process::{Command, Stdio};

#[test]
fn every_shipped_worker_passes_the_conformance_kit() {
    let workers = folder().join("workers");
    let mut running = Vec::new();
    for entry in std::fs::read_dir(&workers).unwrap() {
        let path = entry.unwrap().path();
        // All at once: a check mostly waits for a worker to beat.
        let check = Command::new(folder().join("sengu"))
            .args(["worker", "check"])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        running.push((path, check));
    }
    assert!(
        running.len() >= 5,
        "too few workers in {}",
        workers.display()
    );
    for (path, check) in running {
        let output = check.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{text}", path.display());
        assert!(
            text.contains("beats at least"),
            "{}\n{text}",
            path.display()
        );
    }
}
