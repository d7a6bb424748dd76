//! The worker against servers that nobody here wrote: nginx and a Prometheus exporter.

mod support;

use sengu_sdk::testing::{Ended, Instance};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use serde_json::{Value, json};
use support::peers::{Peer, exporter, nginx};
use support::{LONG, Secrets, changed, code, message, result, retry_after, unknown, worker};

fn plain(config: Value) -> Value {
    with(json!({"tls": {"plain": true}}), config)
}

fn with(mut config: Value, more: Value) -> Value {
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

fn status(path: &str) -> Value {
    json!({"sources": [{
        "path": path, "facts": {"vendor": "/vendor", "model": "/model"},
        "readings": [
            {"name": "power_watts", "pointer": "/power/mW", "unit": "W", "scale": 0.001},
            {"name": "fan_speed_rpm", "pointer": "/fans/*/rpm", "unit": "{rev}/min", "labels": {"fan": "/fans/*/id"}},
        ],
    }]})
}

fn observe(worker: &mut Instance, target: &TargetFrame) -> Ended {
    worker.call(target, &Secrets::new(), "observe", json!({}), LONG)
}

#[test]
fn files_behind_nginx_are_observed_by_http_and_https() {
    let nginx = nginx();
    let mut worker = worker();
    let secured = with(status("/api/status.json"), json!({"tls": {"ca": nginx.ca}}));
    for target in [
        nginx.target("http", plain(status("/api/status.json"))),
        nginx.target("https", secured.clone()),
        nginx.target("http", plain(status("/moved"))),
    ] {
        let ended = observe(&mut worker, &target);
        assert_eq!(result(&ended), Value::Null, "{ended:?}");
        assert_eq!(ended.reading("power_watts"), Some(1.5));
        let fans: Vec<_> = ended
            .readings
            .iter()
            .filter(|r| r.name == "fan_speed_rpm")
            .collect();
        assert_eq!(
            (fans.len(), fans[1].labels["fan"].as_str(), fans[1].value),
            (2, "f1", 5_600.0)
        );
        assert_eq!(ended.facts["vendor"], "Acme");
    }
    // A sweep on a warm instance keeps its connection.
    let before = nginx.connections().len();
    for _ in 0..20 {
        observe(&mut worker, &nginx.target("https", secured.clone()));
    }
    let after = nginx.connections();
    assert!(after.len() <= before + 2, "{after:?}");
    worker.drain();
}

#[test]
fn who_nginx_is_has_to_be_known() {
    let (nginx, stranger) = (nginx(), nginx());
    let mut worker = worker();
    let unstated = observe(
        &mut worker,
        &nginx.target("https", status("/api/status.json")),
    );
    assert_eq!(code(&unstated), FailureCode::Refused);
    // The fingerprint in the message is the one to pin.
    let seen = message(&unstated)
        .split("Seen now: ")
        .nth(1)
        .expect("a fingerprint");
    let seen = seen.split('.').next().expect("a fingerprint").to_owned();
    let mut pinned = nginx.target("https", status("/api/status.json"));
    pinned
        .identity
        .insert("certSha256".to_owned(), seen.clone());
    assert!(!changed(&observe(&mut worker, &pinned)));
    // Another certificate than the pinned one, another CA than the one that signed it, and none that the system knows.
    let mut moved = stranger.target("https", status("/api/status.json"));
    moved.identity.insert("certSha256".to_owned(), seen);
    let mistaken = with(
        status("/api/status.json"),
        json!({"tls": {"ca": stranger.ca}}),
    );
    let system = with(status("/api/status.json"), json!({"tls": {"system": true}}));
    for target in [
        moved,
        nginx.target("https", mistaken),
        nginx.target("https", system),
    ] {
        let ended = observe(&mut worker, &target);
        assert_eq!(code(&ended), FailureCode::IdentityMismatch, "{ended:?}");
    }
    assert!(
        stranger.log().is_empty(),
        "nothing was asked of the stranger"
    );
    let insecure = with(
        status("/api/status.json"),
        json!({"tls": {"insecure": true}}),
    );
    assert!(!changed(&observe(
        &mut worker,
        &nginx.target("https", insecure)
    )));
    worker.drain();
}

#[test]
fn what_nginx_answers_has_its_outcome() {
    use FailureCode::{BadReply, Busy, Refused, Unreachable};
    let nginx = nginx();
    let mut worker = worker();
    let table = [
        ("/away", Refused, "\"https://elsewhere.invalid\""),
        ("/loop", Refused, "redirected more than 5 times"),
        ("/http", Refused, ""),
        ("/page", BadReply, "text/html came"),
        ("/bomb.json", BadReply, "when decompressed"),
        ("/later", Busy, "503"),
        ("/drop", Unreachable, ""),
        ("/none", Refused, "404"),
    ];
    let secured = json!({"tls": {"ca": nginx.ca}});
    for (path, want, said) in table {
        let target = nginx.target("https", with(status(path), secured.clone()));
        let ended = observe(&mut worker, &target);
        assert_eq!(code(&ended), want, "{path}: {ended:?}");
        assert!(
            message(&ended).contains(said) && !message(&ended).contains("state=abc"),
            "{ended:?}"
        );
        if want == Busy {
            assert_eq!(retry_after(&ended), Some(17_000));
        }
    }
    let huge = with(
        status("/bomb.json"),
        json!({"tls": {"ca": nginx.ca}, "responseBytesMax": 1_024}),
    );
    assert_eq!(
        code(&observe(&mut worker, &nginx.target("https", huge))),
        BadReply
    );
    let mut gone = nginx.target("http", plain(status("/x")));
    drop(nginx);
    assert_eq!(code(&observe(&mut worker, &gone)), Unreachable);
    gone.address = "http://127.0.0.1:1".to_owned();
    assert_eq!(code(&observe(&mut worker, &gone)), Unreachable);
    worker.drain();
}

#[test]
fn nginx_asks_for_a_password() {
    let nginx = nginx();
    let mut worker = worker();
    let basic = plain(with(
        status("/secured/api/status.json"),
        json!({"auth": {"type": "basic"}}),
    ));
    let target = nginx.target("http", basic);
    let secrets = |password: &str| -> Secrets {
        [("username", "operator"), ("password", password)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    };
    let right = worker.call(&target, &secrets("sesame-open"), "observe", json!({}), LONG);
    assert_eq!(result(&right), Value::Null, "{right:?}");
    let wrong = worker.call(&target, &secrets("sesame-shut"), "observe", json!({}), LONG);
    assert_eq!(code(&wrong), FailureCode::AuthFailed);
    assert!(!format!("{wrong:?}").contains("sesame"), "{wrong:?}");
    let none = nginx.target("http", plain(status("/secured/api/status.json")));
    let none = observe(&mut worker, &none);
    assert_eq!(code(&none), FailureCode::AuthFailed);
    assert!(message(&none).contains("config.auth is none"), "{none:?}");
    let keyless = worker.call(&target, &Secrets::new(), "observe", json!({}), LONG);
    assert_eq!(code(&keyless), FailureCode::Refused);
    assert!(
        message(&keyless).contains("no key \"username\""),
        "{keyless:?}"
    );
    worker.drain();
}

fn mode(worker: &mut Instance, nginx: &Peer, request: Value, params: Value, action: &str) -> Ended {
    let target = nginx.target("http", plain(json!({"requests": {"mode": request}})));
    let params = with(json!({"request": "mode"}), params);
    worker.call(
        &target,
        &Secrets::new(),
        action,
        params,
        std::time::Duration::from_secs(6),
    )
}

#[test]
fn a_resource_of_nginx_is_set_read_back_and_removed() {
    let nginx = nginx();
    let mut worker = worker();
    let set = json!({
        "method": "PUT", "path": "/store/{what}", "effect": "idempotent", "body": {"mode": {"$param": "mode"}},
        "params": {"what": {"type": "string"}, "mode": {"type": "string"}},
        "readBack": {"path": "/store/{what}", "pointer": "/mode", "equals": {"$param": "mode"}},
    });
    let full = json!({"what": "mode", "mode": "full \"speed\", {x}"});
    let first = mode(
        &mut worker,
        &nginx,
        set.clone(),
        full.clone(),
        "request.set",
    );
    assert!(changed(&first), "{first:?}");
    assert!(!changed(&mode(
        &mut worker,
        &nginx,
        set.clone(),
        full,
        "request.set"
    )));
    let kept = std::fs::read_to_string(nginx.folder.path().join("www/store/mode")).expect("a file");
    assert_eq!(kept, r#"{"mode":"full \"speed\", {x}"}"#);
    // A value cannot climb out of its place in the path.
    let climb = json!({"what": "../../pid", "mode": "x"});
    let climb = mode(&mut worker, &nginx, set, climb, "request.set");
    assert!(!matches!(climb.outcome, Outcome::Done(_)), "{climb:?}");
    assert!(!nginx.log().contains("/store/../"), "{}", nginx.log());

    let remove = json!({
        "method": "DELETE", "path": "/store/mode", "effect": "idempotent",
        "readBack": {"path": "/store/mode", "pointer": "", "equals": null},
    });
    assert!(changed(&mode(
        &mut worker,
        &nginx,
        remove.clone(),
        json!({}),
        "request.set"
    )));
    assert!(!changed(&mode(
        &mut worker,
        &nginx,
        remove,
        json!({}),
        "request.set"
    )));
    assert_eq!(nginx.log().matches("DELETE /store/mode").count(), 1);

    // 202 without anything to read back is not known to be done, and is sent once.
    let accept = json!({"method": "POST", "path": "/accept", "effect": "once", "proof": "status"});
    assert!(unknown(&mode(
        &mut worker,
        &nginx,
        accept,
        json!({}),
        "request.run"
    )));
    // A change is not sent after 301; whether it was done there, nobody knows.
    let moved = json!({"method": "POST", "path": "/moved", "effect": "once", "proof": "status"});
    assert!(unknown(&mode(
        &mut worker,
        &nginx,
        moved,
        json!({}),
        "request.run"
    )));
    // nginx writes its log after its answer, and before the next one.
    assert_eq!(nginx.log().matches("POST /accept").count(), 1);
    let away = json!({"method": "POST", "path": "/loop", "effect": "once", "proof": "status"});
    assert_eq!(
        code(&mode(&mut worker, &nginx, away, json!({}), "request.run")),
        FailureCode::Refused
    );
    worker.drain();
}

#[test]
fn an_exporter_is_scraped() {
    let exporter = exporter();
    let mut worker = worker();
    let source = json!({
        "path": "/metrics", "format": "prometheus", "labels": {"job": "node"},
        "only": ["node_load1", "node_memory_MemTotal_bytes", "node_cpu_seconds_total", "plant_*"],
        "facts": {"kernel": "node_uname_info/release", "hostname": "node_uname_info/nodename"},
    });
    let target = exporter.target("http", plain(json!({"sources": [source]})));
    let ended = observe(&mut worker, &target);
    assert_eq!(result(&ended), Value::Null, "{ended:?}");
    assert!(
        ended
            .reading("node_memory_MemTotal_bytes")
            .is_some_and(|bytes| bytes > 1e8)
    );
    let of = |name: &str| {
        ended
            .readings
            .iter()
            .find(|r| r.name == name)
            .expect("it is there")
    };
    assert_eq!(of("node_memory_MemTotal_bytes").unit, "By");
    let cpu = of("node_cpu_seconds_total");
    assert_eq!(cpu.unit, "s");
    assert!(
        cpu.labels.contains_key("cpu")
            && cpu.labels.contains_key("mode")
            && cpu.labels["job"] == "node"
    );
    assert_eq!(of("plant_note").labels["text"], "a \"b\" \\ c");
    assert!(
        ended.readings.iter().all(|r| !r.name.starts_with("go_")),
        "only what is listed"
    );
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("linux");
    assert_eq!(ended.facts["kernel"], kernel.trim());
    // All of it, and what is not there is named.
    let all = exporter.target(
        "http",
        plain(json!({"sources": [{"path": "/metrics", "format": "prometheus"}]})),
    );
    assert!(observe(&mut worker, &all).readings.len() > 50);
    let none =
        json!({"sources": [{"path": "/metrics", "format": "prometheus", "only": ["nothing_*"]}]});
    let none = observe(&mut worker, &exporter.target("http", plain(none)));
    assert_eq!(
        result(&none)["missing"],
        json!(["/metrics: no metric nothing_*"])
    );
    // Its page is no exposition.
    let page = json!({"sources": [{"path": "/", "format": "prometheus"}]});
    let page = observe(&mut worker, &exporter.target("http", plain(page)));
    assert_eq!(code(&page), FailureCode::BadReply);
    worker.drain();
}
