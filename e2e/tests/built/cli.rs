//! What a user types, with its exit codes: declare, look, observe, change, ask why, undo.

use sengu_e2e::{Fleet, Instance, Ran, fleet, json, s, until};
use std::fs;

/// The first column, without the head.
fn names(ran: &Ran) -> Vec<&str> {
    let lines = ran.stdout.lines().skip(1);
    lines.filter_map(|l| l.split_whitespace().next()).collect()
}

#[test]
fn records_are_declared_compared_shown_changed_and_deleted() {
    let sengu = Instance::start();
    let fleet = Fleet::new()
        .with("redfish", 24, &["--label", "site=tyo1"])
        .with("ssh", 4, &["--label", "site=osa1"])
        .with("snmp", 4, &[]);
    let folder = sengu.beside("fleet");
    fs::create_dir_all(folder.join("hosts")).unwrap();
    for (kind, twins) in &fleet.twins {
        let text = fleet::documents(&twins.records);
        let file = match *kind {
            "ssh" => "hosts/ssh.yml".to_owned(),
            kind => format!("{kind}.yaml"),
        };
        fs::write(folder.join(file), text).unwrap();
    }
    let path = folder.display().to_string();
    let apply = ["apply", "-f", &path];

    let dry = sengu.cli(&["apply", "-f", &path, "--dry-run"]).expect(0);
    assert!(dry.stderr.contains("nothing was changed"), "{}", dry.stderr);
    assert_eq!(sengu.api.get("/v1/records/Target")["items"], json!([]));
    let diff = sengu.cli(&["diff", "-f", &path]).expect(1);
    assert!(diff.stdout.contains("certSha256"), "{}", diff.stdout);
    let applied = sengu.cli(&apply).expect(0);
    assert_eq!(applied.stdout.matches(" created ").count(), 35);
    assert!(
        sengu
            .cli(&["diff", "-f", &path])
            .expect(0)
            .stdout
            .is_empty()
    );
    let again = sengu.cli(&apply).expect(0);
    assert_eq!(again.stdout.matches(" unchanged ").count(), 35);

    let table = sengu.cli(&["get", "targets"]).expect(0);
    assert_eq!(names(&table).len(), 32);
    let wide = sengu.cli(&["get", "targets", "-o", "wide"]).expect(0);
    let columns = |ran: &Ran| {
        ran.stdout
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .count()
    };
    assert!(columns(&wide) > columns(&table), "{}", wide.stdout);
    let listed = sengu
        .cli(&["get", "targets", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 32);
    let yaml = sengu.cli(&["get", "target/ssh-1", "-o", "yaml"]).expect(0);
    for line in ["kind: Target", "  name: ssh-1", "    site: osa1"] {
        assert!(yaml.stdout.contains(line), "{}", yaml.stdout);
    }
    let chosen = |selector: &str| {
        let ran = sengu.cli(&["get", "targets", "-o", "name", "-l", selector]);
        ran.expect(0).stdout.lines().count()
    };
    assert_eq!(chosen("kind=redfish,rack=r02"), 4);
    assert_eq!(chosen("site in (tyo1,osa1),kind!=ssh"), 24);
    assert_eq!(chosen("!site"), 4);
    assert_eq!(chosen("name~ssh-*"), 4);

    // Facts select as labels do, once they are known.
    assert_eq!(chosen("power_state=On"), 0);
    sengu.cli(&["observe", "-l", "site=tyo1"]).expect(0);
    assert_eq!(chosen("power_state=On"), 24);
    assert!(chosen("vendor=Contoso,firmware>=1.0") < 24);
    assert_eq!(chosen("reachable=true"), 24);
    sengu
        .cli(&["observe", "--all", "-o", "json"])
        .expect(0)
        .json();
    let runs = sengu.cli(&["get", "runs", "-o", "json"]).expect(0).json();
    assert_eq!(runs["items"][1]["status"]["counts"]["done"], 32, "{runs}");
    let described = sengu.cli(&["describe", "target/redfish-1"]).expect(0);
    for word in ["Reachable", "serial", "temperature_celsius", "Recent tasks"] {
        assert!(described.stdout.contains(word), "{}", described.stdout);
    }

    let edited = sengu.cli_with(
        &["edit", "target/ssh-1"],
        &[("EDITOR", "sed -i s/osa1/osa2/"), ("VISUAL", "")],
    );
    edited.expect(0);
    assert_eq!(chosen("site=osa2"), 1);
    let diff = sengu.cli(&["diff", "-f", &path]).expect(1);
    assert!(diff.stdout.contains("osa2"), "{}", diff.stdout);

    // Credentials in use are not taken away.
    let held = sengu.cli(&["delete", "secret/ssh", "-y"]).expect(3);
    assert!(held.stderr.contains("in_use"), "{}", held.stderr);
    sengu
        .cli(&["delete", "targets", "-l", "kind=ssh", "-y"])
        .expect(0);
    assert_eq!(chosen("kind=ssh"), 0);
    sengu.cli(&["delete", "secret/ssh", "-y"]).expect(0);
    sengu.cli(&["delete", "target/ssh-1", "-y"]).expect(3);
    sengu
        .cli(&["delete", "target/ssh-1", "-y", "--ignore-not-found"])
        .expect(0);
}

#[test]
fn a_change_runs_in_batches_within_its_budget_and_what_failed_is_explained() {
    let sengu = Instance::start();
    let mut fleet = Fleet::new().with("redfish", 20, &[]).with("ssh", 6, &[]);
    fleet.apply(&sengu);
    let plan = sengu
        .cli(&[
            "run",
            "power.set",
            "state=off",
            "-l",
            "kind=redfish",
            "--batch",
            "10%",
            "--dry-run",
        ])
        .expect(0);
    assert!(
        plan.stdout.contains("20") || plan.stderr.contains("20"),
        "{plan:?}"
    );

    // One fails for good: two may.
    fleet
        .twin("redfish")
        .fault("redfish-7", "busy", Some(600_000), None);
    let all = [
        "run",
        "power.set",
        "state=forceOff",
        "-l",
        "kind=redfish",
        "--exclude",
        "redfish-7",
        "--batch",
        "25%",
        "--max-fail",
        "10%",
        "-o",
        "json",
    ];
    let run = sengu.cli(&all).expect(0).json();
    assert_eq!(run["status"]["counts"]["done"], 19, "{run}");
    // A quarter of 19, rounded down.
    assert_eq!(run["status"]["batches"], 5, "{run}");
    let off = fleet.effects();
    assert!(
        off.iter()
            .filter(|(n, _)| n.starts_with("redfish"))
            .all(|(n, e)| { e.contains_key("power.forceOff") != (n == "redfish-7") })
    );

    // The budget holds over batches: 2 of 6 fail in the first, 1 may; nothing further begins.
    let failing = [
        "run",
        "exec",
        "command=exit 3",
        "-l",
        "kind=ssh",
        "--batch",
        "2",
        "--max-fail",
        "1",
    ];
    let failed = sengu.cli(&failing).expect(1);
    for word in ["exit code 3", "refused", "cancelled", "budget"] {
        assert!(
            failed.stdout.contains(word) || failed.stderr.contains(word),
            "{failed:?}"
        );
    }
    let ran: u64 = fleet.effects().values().filter_map(|e| e.get("exec")).sum();
    assert_eq!(ran, 2);
    let forgiven = [&failing[..], &["--exit-zero"]].concat();
    sengu.cli(&forgiven).expect(0);
    let runs = sengu.cli(&["get", "runs", "-o", "name"]).expect(0);
    let run = runs.stdout.lines().last().unwrap().to_owned();
    let name = run.strip_prefix("run/").unwrap();
    let why = sengu.cli(&["why", &run]).expect(0);
    assert!(why.stdout.contains("budget"), "{}", why.stdout);
    let tasks = sengu
        .cli(&["tasks", "--run", name, "--status", "failed", "-o", "name"])
        .expect(0);
    assert_eq!(tasks.stdout.lines().count(), 2, "{}", tasks.stdout);
    let task = tasks.stdout.lines().next().unwrap();
    let why = sengu.cli(&["why", task]).expect(0);
    assert!(why.stdout.contains("exit code 3"), "{}", why.stdout);
    sengu.cli(&["describe", task]).expect(0);

    // `retry` does the unfinished of the same run again.
    let retried = sengu.cli(&["retry", name]).expect(1);
    assert!(retried.stdout.contains("exit code 3"), "{}", retried.stdout);
    let told = sengu
        .cli(&["run", "exec", "command=echo hello; sleep 0.1", "ssh-1"])
        .expect(0);
    assert!(told.stdout.contains("hello"), "{}", told.stdout);
    let logs = sengu
        .cli(&["tasks", "--target", "ssh-1", "--limit", "1", "-o", "name"])
        .expect(0);
    let logs = sengu.cli(&["logs", logs.stdout.trim()]).expect(0);
    assert!(logs.stdout.contains("hello"), "{}", logs.stdout);
}

#[test]
fn what_takes_long_is_waited_for_left_or_cancelled_and_why_names_what_holds_it() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("ssh", 3, &[]);
    fleet.apply(&sengu);
    let slow = ["run", "exec", "command=sleep 30", "-l", "kind=ssh"];
    let left = sengu
        .cli(&[&slow[..], &["--timeout", "300ms"]].concat())
        .expect(5);
    assert!(left.stderr.contains("goes on"), "{}", left.stderr);
    let behind = sengu
        .cli(&["run", "exec", "command=true", "ssh-1", "--no-wait"])
        .expect(0);
    let behind = behind
        .stdout
        .trim()
        .strip_prefix("run/")
        .unwrap()
        .to_owned();
    let waiting = until("the second change waits in its lane", s(5), || {
        let tasks = sengu
            .cli(&["tasks", "--run", &behind, "--open", "-o", "name"])
            .expect(0);
        tasks.stdout.lines().next().map(str::to_owned)
    });
    let why = sengu.cli(&["why", &waiting, "-o", "json"]).expect(0).json();
    let holder = why["holder"].as_str().unwrap_or_default().to_owned();
    assert!(holder.starts_with("t-"), "{why}");
    let target = sengu.cli(&["why", "target/ssh-1"]).expect(0);
    assert!(target.stdout.contains(&holder), "{}", target.stdout);
    sengu.cli(&["top"]).expect(0);
    let top = sengu.cli(&["top", "-o", "json"]).expect(0).json();
    assert_eq!(top["targets"]["total"], 3, "{top}");
    assert_eq!(top["runs"].as_array().unwrap().len(), 2, "{top}");

    let runs = sengu.cli(&["get", "runs", "-o", "name"]).expect(0);
    // The one behind first: it would begin as soon as the lane is free.
    for run in runs.stdout.lines().rev() {
        sengu.cli(&["cancel", run]).expect(0);
    }
    for run in runs.stdout.lines() {
        let over = sengu.over(run.strip_prefix("run/").unwrap(), s(20));
        assert_eq!(over["status"]["phase"], "Cancelled", "{over}");
    }
    let again = sengu.cli(&["cancel", &format!("run/{behind}")]).expect(3);
    assert!(again.stderr.contains("wrong_state"), "{}", again.stderr);
    // A cancelled run is done by retry.
    sengu.cli(&["retry", &behind]).expect(0);
}

#[test]
fn wrong_words_have_their_exit_codes_and_hints() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("ssh", 1, &[]);
    fleet.apply(&sengu);
    let wrong = sengu.beside("wrong.yaml");
    fs::write(&wrong, "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: a}\nspec:\n  kind: ssh\n  adress: h\n").unwrap();
    let wrong = wrong.display().to_string();
    let table: [(&[&str], i32, &[&str]); 12] = [
        (&["get", "lamps"], 2, &["lamps", "targets"]),
        (&["get", "target/nope"], 3, &["nope"]),
        (&["frobnicate"], 2, &["frobnicate"]),
        (&["run", "exec", "command=id"], 2, &["-l"]),
        (
            &["run", "fly", "-l", "kind=ssh"],
            3,
            &["unknown_action", "exec"],
        ),
        (
            &["run", "exec", "command=id", "ssh-9"],
            3,
            &["unknown_target", "ssh-9"],
        ),
        (&["run", "exec", "cmd=id", "ssh-1"], 3, &["invalid_params"]),
        (
            &["run", "observe", "-l", "kind=redfish"],
            3,
            &["no_targets"],
        ),
        (&["get", "targets", "-l", "a in b"], 2, &["(a,b,c)"]),
        (
            &["apply", "-f", &wrong],
            3,
            &["wrong.yaml:6", "adress", "invalid_field"],
        ),
        (&["apply", "-f", "/nowhere"], 2, &["/nowhere"]),
        (&["why", "task/t-0000000000001"], 3, &["not_found"]),
    ];
    for (words, code, hints) in table {
        let ran = sengu.cli(words).expect(code);
        assert!(ran.stdout.is_empty(), "{words:?}: {}", ran.stdout);
        for hint in hints {
            assert!(
                ran.stderr.contains(hint),
                "{words:?} without {hint:?}: {}",
                ran.stderr
            );
        }
    }
    let token = sengu.beside("token");
    fs::write(&token, "0123456789012345678901234567890123456789\n").unwrap();
    let token = token.display().to_string();
    let refused = sengu
        .cli(&["get", "targets", "--token-file", &token])
        .expect(4);
    assert!(refused.stderr.contains("token"), "{}", refused.stderr);
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            sengu
                .cli(&["completions", shell])
                .expect(0)
                .stdout
                .contains("sengu")
        );
    }
    for word in ["Target", "redfish", "redfish.power.set", "Schedule"] {
        let explained = sengu.cli(&["explain", word]).expect(0);
        assert!(explained.stdout.contains(word), "{}", explained.stdout);
    }
    sengu.cli(&["explain", "lamp"]).expect(3);
}
