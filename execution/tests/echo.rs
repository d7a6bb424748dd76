//! The echo worker, spoken to without a WEE between: what every worker made with the SDK does.

mod common;

use common::echo;
use sengu_execution::Runtime;
use sengu_execution::runtime::Image;
use sengu_runtime_process::ProcessRuntime;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_worker_still_hears_cancels_and_refuses_tasks() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let (manifest, folder) = echo();
    let image = Image::of(&manifest, String::new(), folder);
    let handle = runtime
        .start(image, "echo@1.0.0/1".to_owned())
        .await
        .unwrap();
    let mut attached = runtime.attach(handle).await.unwrap();
    let task = |id: u64, action: &str| {
        format!(
            "{{\"type\":\"task\",\"id\":\"{}\",\"fence\":\"1.1\",\"action\":\"{action}\",\
             \"params\":{{\"sleep_ms\":60000}},\"target\":{{\"name\":\"t\",\"address\":\"a\"}},\
             \"timeout_ms\":60000}}\n",
            sengu_model::TaskId(id)
        )
    };
    let cancel = format!(
        "{{\"type\":\"cancel\",\"id\":\"{}\"}}\n",
        sengu_model::TaskId(1)
    );
    let all = [
        &task(1, "once"),
        "{\"type\":\"drain\"}\n",
        &task(2, "noop"),
        &cancel,
    ]
    .concat();
    attached.stdin.write_all(all.as_bytes()).await.unwrap();
    let mut out = String::new();
    let read = tokio::time::timeout(
        Duration::from_secs(30),
        attached.stdout.read_to_string(&mut out),
    );
    read.await.expect("it leaves").unwrap();
    assert!(attached.exit.await.clean);
    let outcomes: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("\"outcome\""))
        .collect();
    assert_eq!(outcomes.len(), 2, "{out}");
    assert!(
        out.contains("\"status\":\"cancelled\"") && out.contains("\"code\":\"busy\""),
        "{out}"
    );
}
