//! The process runtime passes the runtimes' suite, and keeps what it says of isolation.

use rustix::process::{Resource, getrlimit};
use sengu_execution::conformance::{Mirror, run};
use sengu_execution::runtime::{Image, Runtime};
use sengu_runtime_process::ProcessRuntime;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn image(command: &[&str]) -> Image {
    Image {
        kind: "mirror".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:mirror".to_owned(),
        folder: folder(),
        command: command.iter().map(|part| (*part).to_owned()).collect(),
    }
}

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

/// Runs a shell script as an instance and gives what it wrote.
async fn output(runtime: &ProcessRuntime, script: &str) -> String {
    let image = image(&["sh", "-c", script]);
    let handle = runtime
        .start(image, "sh@1.0.0/1".to_owned())
        .await
        .expect("start");
    let mut attached = runtime.attach(handle).await.expect("attach");
    let mut out = String::new();
    attached
        .stdout
        .read_to_string(&mut out)
        .await
        .expect("read");
    attached.exit.await;
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_sees_only_what_it_must() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let environment = output(&runtime, "env | cut -d= -f1 | sort").await;
    let own = [
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SENGU_WORKER_FOLDER",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    for name in environment.lines() {
        assert!(own.contains(&name), "{name} is in the environment");
    }
    let directory = output(&runtime, "pwd; ls -A; stat -c %a .").await;
    let work = state.path().join("work").canonicalize().unwrap();
    let lines: Vec<&str> = directory.lines().collect();
    assert!(lines[0].starts_with(work.to_str().unwrap()), "{directory}");
    assert_eq!(lines[1..], ["700"], "an empty directory of its own");
    // Whatever started this test may have left files open for all its children; those are not ours to close.
    let held = std::fs::File::open(
        file!()
            .rsplit('/')
            .next()
            .map_or(folder(), |f| folder().join(f)),
    );
    let inherited = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    let files = output(&runtime, "ls /proc/self/fd").await;
    assert_eq!(
        files,
        String::from_utf8(inherited.stdout).unwrap(),
        "no file of sengu is open"
    );
    drop(held.unwrap());
    // They are set just after the start.
    let limits = output(&runtime, "sleep 0.5; ulimit -c; ulimit -n; ulimit -d").await;
    let files = getrlimit(Resource::Nofile)
        .maximum
        .map_or(8_192, |own| own.min(8_192));
    let want = ["0".to_owned(), files.to_string(), (4u64 << 20).to_string()];
    assert_eq!(limits.lines().collect::<Vec<_>>(), want);
    let said = runtime.isolation().join("\n");
    let privileges = output(&runtime, "grep NoNewPrivs /proc/self/status").await;
    assert_eq!(
        said.contains("not enforced: no new privileges"),
        privileges.ends_with("\t0\n")
    );
    let group = output(&runtime, "ps -o pgid= -p $$; echo $$").await;
    let numbers: Vec<&str> = group.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1], "the leader of its own group");
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

#[tokio::test]
async fn a_killed_sengu_leaves_nothing_behind() {
    let state = tempfile::tempdir().unwrap();
    let mut sengu = Command::new(std::env::current_exe().unwrap())
        .args(["hold", "--exact"])
        .env("HOLD_STATE", state.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let next = ProcessRuntime::new(state.path().to_owned());
    let end = Instant::now() + Duration::from_secs(30);
    while next.list().await.unwrap().is_empty() {
        assert!(Instant::now() < end, "the instance never ran");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let handle = next.list().await.unwrap().remove(0);
    sengu.kill().unwrap();
    sengu.wait().unwrap();
    // Its leader died with sengu where setpriv is there; the child of it did not.
    assert_eq!(next.list().await.unwrap(), std::slice::from_ref(&handle));
    next.stop(handle).await.unwrap();
    assert!(next.list().await.unwrap().is_empty());
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
