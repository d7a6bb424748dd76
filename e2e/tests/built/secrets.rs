//! Where the value of a Secret must never be: answers, events, logs, environments, arguments, files.

use sengu_e2e::{Fleet, Instance, json, s, until};
use std::fs;
use std::path::Path;

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn holds(bytes: &[u8], value: &str) -> bool {
    bytes.windows(value.len()).any(|w| w == value.as_bytes())
}

#[test]
fn a_secret_is_in_no_answer_event_log_environment_argument_or_file() {
    let mut sengu = Instance::prepare();
    sengu.log_filter = "debug".to_owned();
    sengu.up();
    let fleet = Fleet::new()
        .with("redfish", 3, &[])
        .with("ssh", 3, &[])
        .with("snmp", 4, &[]);
    fleet.apply(&sengu);
    let mut values: Vec<String> = Vec::new();
    for record in fleet.records().iter().filter(|r| r.kind == "Secret") {
        for (key, value) in record.spec["data"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            match key.as_str() {
                // Names of accounts are no secrets of the twins' making.
                "username" => {}
                "privateKey" => values.push(value.lines().nth(2).unwrap().to_owned()),
                _ => values.push(value.to_owned()),
            }
        }
    }
    assert_eq!(values.len(), 6, "{values:?}");
    let clean = |what: &str, bytes: &[u8]| {
        for (n, value) in values.iter().enumerate() {
            assert!(!holds(bytes, value), "value {n} is in {what}");
        }
    };

    // Work, an echo of a secret by the device itself, and failures that could quote one.
    let run = sengu.run(&json!({"action": "observe", "selector": "name", "frames": true}));
    sengu.over(&run, s(20));
    let hosts = fleet.twins["ssh"]
        .records
        .iter()
        .find(|r| r.kind == "Secret")
        .unwrap();
    let password = hosts.spec["data"]["password"].as_str().unwrap();
    for command in [format!("echo {password}"), "exit 3".to_owned()] {
        let params = json!({"command": "cat; exit 0", "stdin": password});
        sengu.task("ssh-1", "exec", params, s(20));
        sengu.task(
            "ssh-1",
            "exec",
            json!({"command": command, "stdin": "x"}),
            s(20),
        );
    }
    let workers = sengu.workers("");
    assert!(workers.len() >= 3, "{workers:?}");
    for worker in &workers {
        for part in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{}/{part}", worker.pid)).unwrap_or_default();
            clean(&format!("{part} of {worker:?}"), &bytes);
        }
    }
    let mut answers = Vec::new();
    for path in [
        "/v1/records/Secret",
        "/v1/records/Secret/ssh",
        "/v1/records/Target",
        "/v1/records/Worker",
        "/v1/records/Wee",
        "/v1/records/Run",
        "/v1/top",
        "/v1/why/target/ssh-1",
        "/metrics",
    ] {
        answers.push((path.to_owned(), sengu.api.call("GET", path, &[], b"").body));
    }
    let tasks = sengu.api.get("/v1/tasks?limit=100");
    for task in tasks["items"].as_array().unwrap() {
        let id = task["id"].as_str().unwrap();
        // What a person wrote into the parameters is the person's; what came back is ours.
        answers.push((
            format!("ending of {id}"),
            task["ending"].to_string().into_bytes(),
        ));
        answers.push((
            format!("logs of {id}"),
            sengu
                .api
                .call("GET", &format!("/v1/tasks/{id}/logs"), &[], b"")
                .body,
        ));
    }
    for words in [
        &["get", "secrets", "-o", "yaml"][..],
        &["describe", "secret/redfish"],
        &["get", "secrets", "-o", "wide"],
    ] {
        answers.push((
            words.join(" "),
            sengu.cli(words).expect(0).stdout.into_bytes(),
        ));
    }
    let mut events = sengu.api.events("/v1/watch?from=0", &[]);
    while let Some(event) = events.next(s(1)) {
        answers.push((
            format!("event {}", event.id),
            event.data.to_string().into_bytes(),
        ));
    }
    for (what, bytes) in &answers {
        clean(what, bytes);
    }
    // Frames name the secrets that were handed over, and hold none.
    let masked = |(_, bytes): &&(String, Vec<u8>)| holds(bytes, r#"password\":\"***\""#);
    assert!(answers.iter().filter(masked).count() >= 3);
    clean("the log", &fs::read(&sengu.log).unwrap());
    // What a person wrote into the parameters of a task is kept as it was, so only the set's own secrets are looked for.
    assert!(sengu.terminate().success());
    let mut kept = Vec::new();
    files(&sengu.data, &mut kept);
    assert!(kept.iter().any(|p| p.ends_with("token")));
    let in_params = password;
    for path in kept {
        let bytes = fs::read(&path).unwrap();
        for value in values.iter().filter(|v| *v != in_params) {
            assert!(!holds(&bytes, value), "a value is in {}", path.display());
        }
    }
    clean("the log", &fs::read(&sengu.log).unwrap());
}

#[test]
fn an_edited_secret_keeps_what_was_not_shown() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("ssh", 1, &[]);
    fleet.apply(&sengu);
    let editor = [("EDITOR", "true"), ("VISUAL", "")];
    let unchanged = sengu.cli_with(&["edit", "secret/ssh"], &editor);
    assert_eq!(unchanged.code, 0, "{unchanged:?}");
    let shown = sengu.api.get("/v1/records/Secret/ssh");
    assert_eq!(shown["spec"]["data"]["password"], "***");
    // What was shown is written back: the values stay, and the hosts still let us in.
    let json = [("content-type", "application/json")];
    let put = sengu.api.call(
        "PUT",
        "/v1/records/Secret/ssh",
        &json,
        shown.to_string().as_bytes(),
    );
    put.expect(200);
    let ended = sengu.task("ssh-1", "observe", json!({}), s(20));
    assert_eq!(ended["ending"]["outcome"]["status"], "done", "{ended}");
    until("the target is known", s(5), || {
        (sengu.condition("ssh-1", "Reachable")["status"] == "True").then_some(())
    });
}
