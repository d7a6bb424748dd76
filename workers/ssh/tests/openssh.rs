//! Against OpenSSH's own sshd, which we did not write.

mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use support::{LONG, Sshd, message, result, word, worker};

#[test]
fn commands_end_with_their_exit_code_and_output() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let mut worker = worker();
    // (command, status, exit code, stdout)
    let table = [
        ("true", "done", json!(0), ""),
        ("false", "refused", json!(1), ""),
        ("exit 7", "refused", json!(7), ""),
        (
            "echo 'it''s' \"$((1+1))\" \\\\",
            "done",
            json!(0),
            "its 2 \\\n",
        ),
        ("printf 'a\\nb'", "done", json!(0), "a\nb"),
        ("-not-an-option", "refused", json!(127), ""),
        ("cat", "done", json!(0), ""),
        ("sleep 60 & echo started", "done", json!(0), "started\n"),
    ];
    for (command, status, code, stdout) in table {
        let ended = worker.call(&target, &key, "exec", json!({ "command": command }), LONG);
        assert_eq!(
            word(&ended.outcome),
            status,
            "{command}: {:?}",
            ended.outcome
        );
        let result = result(&ended.outcome);
        let got = (&result["exitCode"], &result["stdout"]);
        assert_eq!(got, (&code, &json!(stdout)), "{command}");
    }
    let ended = worker.call(
        &target,
        &key,
        "exec",
        json!({"command": "kill -9 $$"}),
        LONG,
    );
    assert_eq!(word(&ended.outcome), "refused");
    let code = &result(&ended.outcome);
    assert!(
        code["signal"] == "KILL" || code["exitCode"] == 137,
        "{code}"
    );

    // More commands than one connection has sessions (MaxSessions 10): places are given back.
    for _ in 0..12 {
        let ended = worker.call(&target, &key, "exec", json!({"command": "true"}), LONG);
        assert_eq!(word(&ended.outcome), "done", "{:?}", ended.outcome);
    }
    worker.drain();
    assert_eq!(
        sshd.log().matches("Accepted publickey").count(),
        1,
        "one login serves all"
    );
}

#[test]
fn output_is_streamed_and_limited_and_stdin_env_and_guards_work() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let work = sshd.work();
    let mut worker = worker();
    let mut exec = |params| worker.call(&target, &key, "exec", params, LONG);

    let ended = exec(json!({"command": "echo out; echo err >&2; printf '\\377tail'"}));
    let mut logs = ended.logs.clone();
    logs.sort();
    let log = |level: &str, text: &str| (level.to_owned(), text.to_owned());
    assert_eq!(
        logs,
        [
            log("stderr", "err"),
            log("stdout", "out"),
            log("stdout", "\u{FFFD}tail")
        ]
    );
    assert_eq!(result(&ended.outcome)["stderr"], "err\n");

    let ended =
        exec(json!({"command": "yes 0123456789012345678901234567890123456789 | head -c 3000000"}));
    assert_eq!(word(&ended.outcome), "done");
    let logged: usize = ended.logs.iter().map(|(_, line)| line.len()).sum();
    assert!(logged <= 1 << 20 && ended.logs.last().unwrap().0 == "warn");
    assert_eq!(result(&ended.outcome)["truncated"], true);

    let big = "x".repeat(200_000);
    let ended = exec(json!({"command": "wc -c", "stdin": big}));
    assert_eq!(
        result(&ended.outcome)["stdout"].as_str().unwrap().trim(),
        "200000"
    );

    let ended = exec(json!({"command": "echo \"$A|$B\"", "env": {"A": "it's $HOME", "B": "x\ny"}}));
    assert_eq!(result(&ended.outcome)["stdout"], "it's $HOME|x\ny\n");

    let mark = work.join("mark").to_string_lossy().into_owned();
    let create = json!({"command": format!("echo x >> {mark}"), "creates": mark});
    let first = exec(create.clone());
    assert!(matches!(&first.outcome, sengu_sdk::Outcome::Done(d) if d.changed));
    let second = exec(create);
    assert_eq!(result(&second.outcome)["skipped"], "creates");
    assert!(matches!(&second.outcome, sengu_sdk::Outcome::Done(d) if !d.changed));
    assert!(
        second.logs.is_empty(),
        "the mark is not shown: {:?}",
        second.logs
    );
    let ended = exec(json!({"command": "false", "unless": format!("test -s {mark}")}));
    assert_eq!(result(&ended.outcome)["skipped"], "unless");
    let ended = exec(json!({"command": "exit 4", "unless": "false"}));
    assert_eq!(result(&ended.outcome)["exitCode"], 4);
    assert_eq!(std::fs::read_to_string(work.join("mark")).unwrap(), "x\n");
}

#[test]
fn the_host_is_observed_in_one_command() {
    let sshd = Sshd::start();
    let mut worker = worker();
    let ended = worker.call(&sshd.target(), &sshd.by_key(), "observe", json!({}), LONG);
    assert_eq!(word(&ended.outcome), "done", "{:?}", ended.outcome);
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        ended.facts["kernel"],
        read("/proc/sys/kernel/osrelease").trim()
    );
    assert_eq!(
        ended.facts["hostname"],
        read("/proc/sys/kernel/hostname").trim()
    );
    assert_eq!(
        ended.facts["boot_id"],
        read("/proc/sys/kernel/random/boot_id").trim()
    );
    assert_eq!(
        ended.facts["host_key"],
        sshd.fingerprint("host_ed25519.pub")
    );
    assert!(read("/etc/os-release").contains(ended.facts["os"].as_str().unwrap()));
    assert!(ended.facts["cpus"].as_u64() >= Some(1));
    for name in [
        "load1",
        "uptime_seconds",
        "memory_total_bytes",
        "memory_available_bytes",
    ] {
        assert!(ended.reading(name).is_some(), "{name}");
    }
    let root = ended.readings.iter().find(|r| {
        r.name == "filesystem_size_bytes" && r.labels.get("mount").is_some_and(|m| m == "/")
    });
    assert!(root.is_some_and(|r| r.value > 1e6), "{:?}", ended.readings);
    drop(worker);
    assert_eq!(sshd.log().matches("Starting session: command").count(), 1);
}

#[test]
fn files_are_put_whole_with_mode_and_read_back() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let work = sshd.work();
    let path = work.join("it's a file").to_string_lossy().into_owned();
    let mut worker = worker();
    let mut call = |action: &str, params| worker.call(&target, &key, action, params, LONG).outcome;
    let done = |outcome: &sengu_sdk::Outcome| match outcome {
        sengu_sdk::Outcome::Done(done) => done.clone(),
        other => panic!("{other:?}"),
    };
    let binary: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 256) as u8).collect();
    let base64 = BASE64.encode(&binary);

    let put = done(&call(
        "file.put",
        json!({"path": path, "contentBase64": base64, "mode": "0640"}),
    ));
    assert!(put.changed && put.before == Some(json!({"exists": false})));
    assert_eq!(put.after.as_ref().unwrap()["mode"], "0640");
    assert_eq!(put.after.unwrap()["owner"], sshd.user);
    assert_eq!(std::fs::read(&path).unwrap(), binary);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);

    let inode = |p: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(p).unwrap());
    let before = inode(&path);
    let again = done(&call(
        "file.put",
        json!({"path": path, "contentBase64": base64, "mode": "640"}),
    ));
    assert!(
        !again.changed && inode(&path) == before,
        "an equal file is not touched"
    );
    let kept = done(&call(
        "file.put",
        json!({"path": path, "content": "short\n"}),
    ));
    assert_eq!(
        kept.after.unwrap()["mode"],
        "0640",
        "the mode stays as it was"
    );
    assert_ne!(inode(&path), before, "a file is replaced, not rewritten");
    let chmod = done(&call(
        "file.put",
        json!({"path": path, "content": "short\n", "mode": "0600"}),
    ));
    assert!(chmod.changed);
    assert_eq!(chmod.before.unwrap()["mode"], "0640");
    let left: Vec<_> = std::fs::read_dir(&work)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");

    let got = result(&call("file.get", json!({"path": path})));
    assert_eq!(
        (&got["content"], &got["mode"], &got["bytes"]),
        (&json!("short\n"), &json!("0600"), &json!(6))
    );
    std::fs::write(work.join("bin"), &binary).unwrap();
    let got = result(&call(
        "file.get",
        json!({"path": work.join("bin"), "maxBytes": 524_288}),
    ));
    assert_eq!(got["contentBase64"], base64);

    let missing = work.join("none/x");
    std::os::unix::fs::symlink(&path, work.join("link")).unwrap();
    let table = [
        (
            "file.put",
            json!({"path": missing, "content": "x"}),
            "no such directory",
        ),
        (
            "file.put",
            json!({"path": work, "content": "x"}),
            "no regular file",
        ),
        (
            "file.put",
            json!({"path": work.join("link"), "content": "x"}),
            "symbolic link",
        ),
        (
            "file.put",
            json!({"path": "/etc/sengu-test", "content": "x"}),
            "cannot write in /etc",
        ),
        (
            "file.put",
            json!({"path": path, "content": "x", "owner": "no-such-user"}),
            "chown",
        ),
        ("file.get", json!({"path": missing}), "no such file"),
        ("file.get", json!({"path": work}), "no regular file"),
        (
            "file.get",
            json!({"path": work.join("bin"), "maxBytes": 1000}),
            "over maxBytes",
        ),
    ];
    for (action, params, named) in table {
        // Root may write anywhere; the tests log in as a user of their own, or as whoever runs them.
        if sshd.user == "root" && named.starts_with("cannot write") {
            continue;
        }
        let outcome = call(action, params.clone());
        assert_eq!(word(&outcome), "refused", "{params}: {outcome:?}");
        assert!(message(&outcome).contains(named), "{params}: {outcome:?}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
}

#[test]
fn under_maxstartups_every_task_runs_exactly_once_or_not_at_all() {
    let sshd = Sshd::start_with("MaxStartups 3:60:6\nLoginGraceTime 20");
    let file = sshd.work().join("lines").to_string_lossy().into_owned();
    let key = sshd.by_key();
    let mut worker = worker();
    let total = 60;
    let mut waiting: Vec<u64> = (0..total).collect();
    let mut turned_away = 0;
    for _ in 0..200 {
        let tasks: Vec<(u64, u64)> = waiting
            .iter()
            .map(|n| {
                // A name of its own for each, so that each logs in by itself.
                let target = sshd.target_named(&format!("h{n}"), &sshd.host_key(), json!({}));
                let command = json!({"command": format!("echo {n} >> {file}")});
                (*n, worker.begin(&target, &key, "exec", command, LONG))
            })
            .collect();
        waiting.clear();
        for (n, task) in tasks {
            let ended = worker.wait(task, LONG * 2);
            match word(&ended.outcome) {
                "done" => {}
                "unreachable" => {
                    turned_away += 1;
                    waiting.push(n);
                }
                other => panic!("{other}: {:?}", ended.outcome),
            }
        }
        if waiting.is_empty() {
            break;
        }
    }
    let mut lines: Vec<u64> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|l| l.parse().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        (0..total).collect::<Vec<_>>(),
        "each line once ({turned_away} turned away)"
    );
}

#[test]
fn a_session_killed_under_a_command_is_unknown() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let pid_file = sshd.work().join("pid");
    let mut worker = worker();
    let command = format!(
        "echo $PPID > {p}.new; mv {p}.new {p}; exec sleep 300",
        p = pid_file.display()
    );
    let task = worker.begin(&target, &key, "exec", json!({ "command": command }), LONG);
    let end = Instant::now() + LONG;
    while !pid_file.exists() {
        assert!(Instant::now() < end, "the command did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_session_of(&std::fs::read_to_string(&pid_file).unwrap());
    let ended = worker.wait(task, LONG);
    assert_eq!(word(&ended.outcome), "unknown", "{:?}", ended.outcome);
    let ended = worker.call(&target, &key, "exec", json!({"command": "true"}), LONG);
    assert_eq!(word(&ended.outcome), "done", "the next task logs in anew");
}

#[test]
fn at_the_deadline_and_on_cancel_the_remote_process_dies() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let work = sshd.work();
    let mut worker = worker();
    let pid = |name: &str| {
        let file = work.join(name);
        let end = Instant::now() + LONG;
        while !file.exists() {
            assert!(Instant::now() < end, "the command did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    };
    let command = |name: &str| {
        let path = work.join(name).display().to_string();
        json!({"command": format!("echo $$ > {path}.new; mv {path}.new {path}; exec sleep 300")})
    };
    // With this the login is done, and the deadline is the command's alone.
    let first = worker.call(&target, &key, "exec", json!({"command": "true"}), LONG);
    assert_eq!(word(&first.outcome), "done", "{:?}", first.outcome);
    let ended = worker.call(&target, &key, "exec", command("a"), Duration::from_secs(4));
    assert_eq!(word(&ended.outcome), "unknown", "{:?}", ended.outcome);
    assert!(
        message(&ended.outcome).contains("deadline"),
        "{:?}",
        ended.outcome
    );
    gone(&pid("a"));

    let task = worker.begin(&target, &key, "exec", command("b"), LONG);
    let running = pid("b");
    worker.cancel(task);
    let ended = worker.wait(task, LONG);
    assert_eq!(word(&ended.outcome), "unknown");
    assert!(
        message(&ended.outcome).contains("cancelled"),
        "{:?}",
        ended.outcome
    );
    gone(&running);
}

#[test]
fn one_session_per_connection_is_learned() {
    let sshd = Sshd::start_with("MaxSessions 1");
    let (target, key) = (sshd.target(), sshd.by_key());
    let mut worker = worker();
    let tasks: Vec<u64> = (0..4)
        .map(|_| worker.begin(&target, &key, "exec", json!({"command": "sleep 0.5"}), LONG))
        .collect();
    for task in tasks {
        let ended = worker.wait(task, LONG);
        assert_eq!(word(&ended.outcome), "done", "{:?}", ended.outcome);
    }
    let none = Sshd::start_with("MaxSessions 0");
    let ended = worker.call(
        &none.target(),
        &none.by_key(),
        "exec",
        json!({"command": "true"}),
        LONG,
    );
    assert_eq!(word(&ended.outcome), "busy", "{:?}", ended.outcome);
}

#[test]
fn sudo_that_is_not_allowed_and_missing_tools_are_refused() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let mut worker = worker();
    let service = json!({"name": "sengu-no-such-unit", "state": "started"});
    let ended = worker.call(&target, &key, "service.set", service, LONG);
    assert_eq!(word(&ended.outcome), "refused", "{:?}", ended.outcome);
    let package = json!({"name": "openssh-server", "state": "present"});
    let ended = worker.call(&target, &key, "package.set", package, LONG);
    assert!(
        matches!(&ended.outcome, sengu_sdk::Outcome::Done(d) if !d.changed),
        "{:?}",
        ended.outcome
    );
    if sshd.user != "root" {
        let absent = json!({"name": "openssh-server", "state": "absent"});
        let ended = worker.call(&target, &key, "package.set", absent, LONG);
        let word = word(&ended.outcome);
        assert!(word == "refused" || word == "busy", "{:?}", ended.outcome);
        let target = sshd.target_named("s", &sshd.host_key(), json!({"sudo": true}));
        let ended = worker.call(&target, &key, "observe", json!({}), LONG);
        assert_eq!(
            support::word(&ended.outcome),
            "refused",
            "{:?}",
            ended.outcome
        );
    }
}

fn gone(pid: &str) {
    let end = Instant::now() + Duration::from_secs(15);
    // A zombie has ended too; whoever started it has only not looked yet.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z") {
        assert!(Instant::now() < end, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills the sshd processes above `pid`, up to the one that listens (which is left alone).
fn kill_session_of(pid: &str) {
    let status =
        |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |status: &str, name: &str| {
        let line = status
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    let mut pid = pid.trim().to_owned();
    for _ in 0..10 {
        let text = status(&pid);
        let parent = field(&text, "PPid:");
        if field(&text, "Name:").starts_with("sshd") {
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
            assert!(killed.is_ok_and(|s| s.success()));
            return;
        }
        pid = parent;
    }
    panic!("no sshd above the command");
}
