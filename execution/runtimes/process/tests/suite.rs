//! The process runtime passes the runtimes' suite, and clears away what earlier lives left.

mod common;

use common::{LIMIT, eventually, folder, groups, image, is_dead};
use sengu_execution::conformance::{Mirror, run};
use sengu_execution::runtime::{Image, Runtime};
use sengu_runtime_process::ProcessRuntime;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn mirror() -> Image {
    let script = folder().join("mirror.py");
    image(&["python3", &script.display().to_string()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_owned();
    let open = |_| {
        let runtime: Arc<dyn Runtime> = Arc::new(ProcessRuntime::new(path.clone()));
        std::future::ready(runtime)
    };
    let mirror = Mirror {
        image: mirror(),
        has_children: true,
    };
    run(open, mirror).await;
    let left = std::fs::read_dir(state.path().join("instances"))
        .unwrap()
        .count();
    let directories = std::fs::read_dir(state.path().join("work"))
        .unwrap()
        .count();
    assert_eq!((left, directories), (0, 0), "nothing is left on disk");
}

/// Holds an instance until it is killed: run as a child by the test below.
#[tokio::test]
async fn hold() {
    let Some(state) = std::env::var_os("HOLD_STATE") else {
        return;
    };
    let runtime = ProcessRuntime::new(state.into());
    let image = image(&[
        "sh",
        "-c",
        "trap '' HUP INT TERM; sleep 600 & while :; do sleep 600; done",
    ]);
    let handle = runtime.start(image, "sh@1.0.0/1".to_owned()).await.unwrap();
    let _attached = runtime.attach(handle).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Processes that have the instance's home.
fn processes_of(state: &Path) -> Vec<String> {
    let home = format!("HOME={}", state.join("work").display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_of = |pid: &String| {
        std::fs::read_to_string(format!("/proc/{pid}/environ")).is_ok_and(|e| e.contains(&home))
    };
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(is_of).collect()
}

async fn leader_and_child(state: &Path) -> Vec<String> {
    eventually("its child runs", || processes_of(state).len() >= 2).await;
    processes_of(state)
}

fn holding(state: &Path) -> Child {
    Command::new(std::env::current_exe().expect("own program"))
        .args(["hold", "--exact"])
        .env("HOLD_STATE", state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

#[tokio::test]
async fn a_killed_sengu_leaves_nothing_behind() {
    let state = tempfile::tempdir().unwrap();
    let mut sengu = holding(state.path());
    let next = ProcessRuntime::new(state.path().to_owned());
    let end = Instant::now() + LIMIT;
    while next.list().await.unwrap().is_empty() {
        assert!(Instant::now() < end, "the instance never ran");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let handle = next.list().await.unwrap().remove(0);
    let groups = groups(state.path());
    let pids = leader_and_child(state.path()).await;
    sengu.kill().unwrap();
    sengu.wait().unwrap();
    // Its leader died with sengu where setpriv is there; the child of it did not. Whichever runtime of this machine
    // starts meanwhile may have been quicker to clear it away, where there are control groups.
    let left = next.list().await.unwrap();
    assert!(
        left.len() <= 1 && left.iter().all(|h| *h == handle),
        "{left:?}"
    );
    assert!(!left.is_empty() || !groups.is_empty());
    next.stop(handle).await.unwrap();
    assert!(next.list().await.unwrap().is_empty());
    assert!(pids.iter().all(|pid| is_dead(pid)), "{pids:?}");
    eventually("its control groups are gone", || {
        groups
            .iter()
            .filter_map(|group| group.parent())
            .all(|life| !life.exists())
    })
    .await;
}

#[tokio::test]
async fn what_nobody_remembers_is_cleared_away_once_its_life_is_over() {
    let state = tempfile::tempdir().unwrap();
    let mut sengu = holding(state.path());
    let first = ProcessRuntime::new(state.path().to_owned());
    let end = Instant::now() + LIMIT;
    while first.list().await.unwrap().is_empty() {
        assert!(Instant::now() < end, "the instance never ran");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let groups = groups(state.path());
    leader_and_child(state.path()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let open = || ProcessRuntime::new(elsewhere.path().to_owned());
    drop(open());
    assert!(groups.iter().all(|group| group.exists()), "its sengu lives");
    sengu.kill().unwrap();
    sengu.wait().unwrap();
    drop(open());
    // Another runtime of this machine may be at it, too.
    eventually("the life is cleared away", || {
        groups
            .iter()
            .filter_map(|group| group.parent())
            .all(|life| !life.exists())
    })
    .await;
    for handle in first.list().await.unwrap() {
        first.stop(handle).await.unwrap();
    }
}

#[tokio::test]
async fn an_innocent_process_with_the_same_id_is_spared() {
    let state = tempfile::tempdir().unwrap();
    let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::create_dir(state.path().join("instances")).unwrap();
    for (name, start_ticks, boot) in [("a-1", 1, boot.trim()), ("b-1", 1, "another boot")] {
        let text = format!(
            "{{\"pid\":{},\"start_ticks\":{start_ticks},\"boot\":\"{boot}\",\"label\":\"x\"}}",
            innocent.id()
        );
        std::fs::write(state.path().join(format!("instances/{name}.json")), text).unwrap();
    }
    let runtime = ProcessRuntime::new(state.path().to_owned());
    assert!(runtime.list().await.unwrap().is_empty());
    for name in ["a-1", "b-1"] {
        runtime
            .stop(sengu_execution::runtime::Handle(name.to_owned()))
            .await
            .unwrap();
    }
    assert!(innocent.try_wait().unwrap().is_none(), "it still runs");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}
