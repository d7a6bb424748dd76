//! What the process runtime says of isolation is so, and what it doesn't enforce here, it says.

mod common;

use common::{Ended, end, eventually, folder, groups, image, is_dead, output, script};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};
use sengu_execution::runtime::{Image, Resources, Runtime};
use sengu_runtime_process::ProcessRuntime;

/// Whether the runtime says that it enforces what `yes` is a part of; it must say `no` otherwise.
fn says(runtime: &ProcessRuntime, yes: &str, no: &str) -> bool {
    let words = runtime.isolation();
    let (denied, told): (Vec<_>, Vec<_>) = words
        .iter()
        .partition(|word| word.starts_with("not enforced: "));
    let says = told.iter().any(|word| word.contains(yes));
    let denies = denied.iter().any(|word| word.contains(no));
    assert_ne!(
        says, denies,
        "{yes} is told one way or the other: {words:?}"
    );
    says
}

fn limits_memory(runtime: &ProcessRuntime) -> bool {
    says(runtime, ": memory", "memory (")
}

fn limited(text: &str, resources: Resources) -> Image {
    Image {
        resources,
        ..script(text)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_and_the_directory_are_its_own() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let environment = end(&runtime, image(&["env"])).await.out;
    // Some shells leave their mark when they become the worker.
    let known = ["HOME", "TMPDIR", "LANG", "PATH", "SENGU_WORKER_FOLDER", "_"];
    let names: Vec<&str> = environment
        .lines()
        .filter_map(|l| l.split('=').next())
        .collect();
    assert!(
        names.contains(&"HOME") && names.contains(&"TMPDIR"),
        "{environment}"
    );
    for name in names {
        assert!(known.contains(&name), "{name} is in the environment");
    }
    let directory = output(
        &runtime,
        "pwd; ls -A; stat -c %a .; echo $HOME; echo $TMPDIR",
    )
    .await;
    let work = state.path().join("work");
    let lines: Vec<&str> = directory.lines().collect();
    assert!(lines[0].starts_with(work.to_str().unwrap()), "{directory}");
    assert_eq!(
        lines[1..],
        ["700", lines[0], lines[0]],
        "an empty directory of its own"
    );
    let group = output(&runtime, "ps -o pgid= -p $$; echo $$").await;
    let numbers: Vec<&str> = group.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1], "the leader of its own group");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_its_three_streams_is_open() {
    let state = tempfile::tempdir().unwrap();
    // As something that has started sengu may have left it: open for its children too.
    let inherited = rustix::fs::open(folder(), OFlags::RDONLY, Mode::empty()).unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let own = std::fs::File::open(folder()).unwrap();
    let files = end(&runtime, image(&["ls", "/proc/self/fd"])).await.out;
    // The fourth is the directory that is being listed.
    assert_eq!(files.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    drop((inherited, own));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_from_the_first_instruction() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let limits = output(&runtime, "ulimit -c; ulimit -n; ulimit -d").await;
    let own = |resource| getrlimit(resource).maximum;
    let files = own(Resource::Nofile).map_or(8_192, |own| own.min(8_192));
    let data = match (limits_memory(&runtime), own(Resource::Data)) {
        (true, None) => "unlimited".to_owned(),
        (true, Some(own)) => (own >> 10).to_string(),
        (false, own) => (own.unwrap_or(u64::MAX).min(4 << 30) >> 10).to_string(),
    };
    let want = ["0".to_owned(), files.to_string(), data];
    assert_eq!(limits.lines().collect::<Vec<_>>(), want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privileges_are_given_up() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let status = output(&runtime, "cat /proc/self/status").await;
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        value("NoNewPrivs") == "1",
        says(&runtime, "no new privileges", "no new privileges")
    );
    // Reading, low ports and raw sockets: bits 2, 10 and 13.
    for set in ["CapEff", "CapPrm"] {
        let bits = u64::from_str_radix(&value(set), 16).unwrap();
        assert_eq!(bits & !(1 << 2 | 1 << 10 | 1 << 13), 0, "{set} {bits:x}");
    }
    assert_eq!(value("CapInh"), "0000000000000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_its_own_directory_is_written() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let files = says(&runtime, "files: ", "files (");
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let text = format!(
        "cat {secret}; echo; echo x > {outside}/new && echo outside; echo x > ../x && echo beside; \
         cat ../../instances/*.json; echo; mkdir d && echo x > d/x && mv d/x y && cat y && rm y && echo own; \
         test -r $SENGU_WORKER_FOLDER/mirror.py && cat $SENGU_WORKER_FOLDER/mirror.py | head -c 3 && echo; \
         cat /etc/hosts > /dev/null && echo etc; mktemp > /dev/null && echo temporary",
        secret = secret.display(),
        outside = outside.path().display()
    );
    let ended = end(&runtime, script(&text)).await;
    let own = ["x", "own", "\"\"\"", "etc", "temporary"];
    for line in own {
        assert!(
            ended.out.lines().any(|l| l == line),
            "{line} works: {ended:?}"
        );
    }
    let lines: Vec<&str> = ended.out.lines().filter(|l| !l.is_empty()).collect();
    match files {
        true => assert_eq!(lines, own, "{ended:?}"),
        false => assert!(lines.contains(&"outside"), "{ended:?}"),
    }
    // What the worker may not do, its keeper still can.
    let work = state.path().join("work");
    let _ = std::fs::remove_file(work.join("x"));
    eventually("its directory is removed", || {
        std::fs::read_dir(&work).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_finds_its_language_wherever_that_is_installed() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let images = tempfile::tempdir().unwrap();
    let file = images.path().join("worker");
    let text = "#!/usr/bin/env python3\nimport json, ssl, socket\nprint(json.dumps('ran'))\n";
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut image = image(&["worker"]);
    image.folder = images.path().to_owned();
    let ended = end(&runtime, image).await;
    assert_eq!(ended.out.trim(), "\"ran\"", "{ended:?}");
}

/// A process that has left group, session and parent, and holds none of the streams.
const DAEMON: &str = "setsid sh -c '(setsid sh -c \"echo \\$\\$ > pid; exec sleep 600\" &) ' </dev/null >/dev/null 2>&1; \
     while ! test -s pid; do sleep 0.01; done; cat pid";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_does_not_outlive_its_instance() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let ended = end(&runtime, script(DAEMON)).await;
    let pid = ended.out.trim();
    assert!(pid.parse::<u32>().is_ok(), "{ended:?}");
    assert!(is_dead(pid), "{ended:?}");
    assert!(ended.exit.clean && ended.exit.left_behind >= 1, "{ended:?}");
    let handle = runtime
        .start(
            script(&format!("{DAEMON}; sleep 600")),
            "sh@1.0.0/1".to_owned(),
        )
        .await
        .unwrap();
    let mut attached = runtime.attach(handle.clone()).await.unwrap();
    let mut line = String::new();
    let stdout = tokio::io::BufReader::new(&mut attached.stdout);
    tokio::io::AsyncBufReadExt::read_line(&mut { stdout }, &mut line)
        .await
        .unwrap();
    runtime.stop(handle).await.unwrap();
    assert!(is_dead(line.trim()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_memory_is_told() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    if !limits_memory(&runtime) {
        return;
    }
    let resources = Resources {
        memory_mb: 64,
        ..Resources::default()
    };
    // It keeps all that it reads, as there is no end of a line.
    let hog = "tail -n 1 /dev/zero";
    let ended = end(&runtime, limited(&format!("exec {hog}"), resources)).await;
    let why = "killed by the kernel: over its memory limit of 64 MB";
    assert_eq!((ended.exit.clean, ended.exit.why.as_str()), (false, why));
    let ended = end(&runtime, limited(&format!("{hog}; exit 3"), resources)).await;
    assert!(ended.exit.why.contains(why), "{ended:?}");
    let Ended { exit, .. } = end(&runtime, limited("kill -9 $$", resources)).await;
    assert_eq!(exit.why, "killed by signal 9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_is_held() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let is_limited = says(&runtime, "number of processes", "number of processes");
    let resources = Resources {
        processes: 20,
        ..Resources::default()
    };
    let many = "n=0; while [ $n -lt 50 ]; do sleep 600 & n=$((n+1)); echo $n; done; exit 0";
    let ended = end(&runtime, limited(many, resources)).await;
    let started: u32 = ended.out.lines().last().unwrap().parse().unwrap();
    assert_eq!(is_limited, started < 20, "{started} were started");
    assert!(ended.exit.left_behind >= 15, "{:?}", ended.exit);
    if !is_limited {
        return;
    }
    let resources = Resources {
        cpus: 0.5,
        ..resources
    };
    let text = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass";
    let bomb = Image {
        resources,
        ..image(&["python3", "-c", text])
    };
    let handle = runtime.start(bomb, "sh@1.0.0/1".to_owned()).await.unwrap();
    let processes = groups(state.path())[0].join("cgroup.procs");
    let count = || std::fs::read_to_string(&processes).map_or(0, |text| text.lines().count());
    eventually("it has begun", || count() > 10).await;
    runtime.stop(handle).await.unwrap();
    assert_eq!(count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_go_with_their_instances_and_their_life() {
    let state = tempfile::tempdir().unwrap();
    let runtime = ProcessRuntime::new(state.path().to_owned());
    let handle = runtime
        .start(script("sleep 600"), "sh@1.0.0/1".to_owned())
        .await
        .unwrap();
    let groups = groups(state.path());
    assert_eq!(
        groups.is_empty(),
        !says(&runtime, "own control group", "(no control groups)")
    );
    for group in &groups {
        let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(!processes.is_empty(), "{}", group.display());
    }
    runtime.stop(handle).await.unwrap();
    for group in &groups {
        assert!(!group.exists(), "{}", group.display());
    }
    drop(runtime);
    eventually("the groups of the life are gone", || {
        groups
            .iter()
            .filter_map(|g| g.parent())
            .all(|life| !life.exists())
    })
    .await;
}
