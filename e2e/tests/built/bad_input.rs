//! Wrong requests: each is refused as a problem with a stable code, a place and a hint, and changes nothing.

use sengu_e2e::{Api, Fleet, Instance, Reply, Value, fleet, json, s, until};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const HEAD: &str = "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: a}\n";

fn target(name: &str) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}}}\nspec: {{kind: echo, address: x}}\n"
    )
}

/// Checks the form of a problem and gives it.
fn problem(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(
        reply.header("content-type"),
        "application/problem+json",
        "{}",
        reply.text()
    );
    let problem = reply.expect(status);
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:sengu:problem:{code}"));
    assert!(
        !problem["detail"].as_str().unwrap_or_default().is_empty(),
        "{problem}"
    );
    assert!(!reply.header("x-request-id").is_empty());
    problem
}

/// Everything that people may write and that runs leave behind.
fn state(api: &Api) -> Vec<Value> {
    let kinds = ["Target", "Secret", "Schedule", "Run"];
    let mut all: Vec<Value> = kinds
        .iter()
        .map(|k| api.get(&format!("/v1/records/{k}"))["items"].clone())
        .collect();
    all.push(api.get("/v1/tasks")["items"].clone());
    all
}

#[test]
fn wrong_documents_are_refused_as_a_whole_with_place_and_hint() {
    let sengu = Instance::start();
    let api = &sengu.api;
    api.yaml(&target("kept")).expect(200);
    let before = state(api);
    let big = format!(
        "{HEAD}spec: {{kind: echo, address: x}}\n# {}\n",
        "x".repeat(2 << 20)
    );
    let schedule =
        "apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: a}\nspec: {every: 30 fortnights}\n";
    // Text, status, code, what the place and the words say, whether a hint is owed.
    let table: Vec<(String, u16, &str, Vec<&str>, bool)> = vec![
        (format!("{HEAD}spec:\n  kind: echo\n  address: x\n  colour: red\n"), 422, "invalid_field", vec!["Target/a", "colour"], true),
        (format!("{HEAD}spec: {{kind: echo}}\n"), 422, "invalid_field", vec!["address"], true),
        (schedule.to_owned(), 422, "invalid_field", vec!["body:4", "fortnights"], true),
        (format!("{}---\n{}", target("a"), target("a")), 422, "duplicate_name", vec!["body:1", "body:6", "twice"], true),
        ("apiVersion: sengu/v1\nkind: Lamp\nmetadata: {name: a}\n".to_owned(), 422, "unknown_kind", vec!["Lamp", "Schedule"], true),
        (format!("{HEAD}spec: {{kind: lamp, address: x}}\n"), 422, "unknown_kind", vec!["spec.kind", "lamp", "redfish"], true),
        (format!("{HEAD}spec: {{kind: echo, address: x, config: {{a: 1}}}}\n"), 422, "invalid_field", vec!["spec.config"], true),
        (format!("{HEAD}spec: {{kind: redfish, address: \"not an address\"}}\n"), 422, "invalid_field", vec!["spec.address"], true),
        (format!("{HEAD}spec: {{kind: echo, address: x, secret: nobody}}\n"), 422, "invalid_field", vec!["spec.secret", "nobody"], true),
        ("apiVersion: sengu/v1\nkind: Target\nmetadata: {name: \"A b\"}\nspec: {kind: echo, address: x}\n".to_owned(), 422, "invalid_name", vec!["metadata.name"], true),
        (format!("{HEAD}spec: [\n"), 422, "syntax", vec!["body:"], true),
        (format!("{}status: {{up: true}}\n", target("a")), 422, "invalid_field", vec!["status"], true),
        (format!("{}---\n{big}", target("b")), 413, "document_too_large", vec!["body:6", "1048576"], false),
        ("\u{0}".repeat(100), 422, "syntax", vec![], true),
        ("a: &a [*a, *a, *a, *a]\nb: &b [*a, *a, *a]\nc: [*b, *b]\n".to_owned(), 422, "", vec![], true),
    ];
    for (text, status, code, words, hint) in table {
        // One right document beside it must not come through either.
        for text in [format!("{}---\n{text}", target("innocent")), text] {
            let reply = api.yaml(&text);
            let shown = &text[..text.len().min(200)];
            if code.is_empty() {
                assert!(
                    (400..500).contains(&reply.status),
                    "{shown}: {}",
                    reply.text()
                );
                continue;
            }
            let problem = problem(&reply, status, code);
            for word in words
                .iter()
                .filter(|w| !w.starts_with("body:") || text.starts_with(shown))
            {
                let moved = word.starts_with("body:") && text.contains("innocent");
                assert!(
                    moved || reply.text().contains(word),
                    "{shown}: no {word:?} in {problem}"
                );
            }
            assert!(
                !problem["errors"].as_array().unwrap()[0]["place"]
                    .as_str()
                    .unwrap()
                    .is_empty()
            );
            assert!(!hint || problem["hint"].is_string(), "{problem}");
        }
    }
    assert_eq!(state(api), before, "nothing was changed");
}

#[test]
fn sets_are_limited_in_documents_and_bytes_but_a_hundred_thousand_targets_are_fine() {
    let sengu = Instance::start();
    let api = &sengu.api;
    let many: String = (0..200_001).map(|n| format!("--- {{apiVersion: sengu/v1, kind: Secret, metadata: {{name: s{n}}}, spec: {{data: {{}}}}}}\n")).collect();
    let refused = problem(&api.yaml(&many), 413, "too_many_documents");
    assert!(
        refused["hint"].as_str().unwrap().contains("several"),
        "{refused}"
    );
    assert_eq!(api.get("/v1/records/Secret")["items"], json!([]));

    let huge = vec![b'#'; (64 << 20) + 1];
    let yaml = [("content-type", "application/yaml")];
    let reply = api.call("POST", "/v1/apply", &yaml, &huge);
    problem(&reply, 413, "body_too_large");
    drop(huge);

    let fine: String = (0..100_000).map(|n| format!("--- {{apiVersion: sengu/v1, kind: Target, metadata: {{name: t{n}}}, spec: {{kind: echo, address: x}}}}\n")).collect();
    let begun = Instant::now();
    api.yaml(&fine).expect(200);
    println!("100,000 targets applied in {:?}", begun.elapsed());
    assert_eq!(api.get("/v1/top")["targets"]["total"], 100_000);
}

#[test]
fn requests_that_make_no_sense_have_their_codes() {
    let sengu = Instance::start();
    let api = &sengu.api;
    let fleet = Fleet::new().with("redfish", 1, &[]);
    fleet.apply(&sengu);
    api.yaml(&fleet::echo(2)).expect(200);
    let before = state(api);
    let on = |targets: Value, action: &str, params: Value| json!({"targets": targets, "action": action, "params": params});
    let posts = [
        (
            "/v1/tasks",
            on(json!(["echo-0001"]), "fly", json!({})),
            422,
            "unknown_action",
        ),
        (
            "/v1/tasks",
            on(json!(["echo-0009"]), "noop", json!({})),
            422,
            "unknown_target",
        ),
        (
            "/v1/tasks",
            on(json!([]), "noop", json!({})),
            422,
            "no_targets",
        ),
        (
            "/v1/tasks",
            on(json!(["redfish-1"]), "power.set", json!({"state": "hot"})),
            422,
            "invalid_params",
        ),
        (
            "/v1/tasks",
            on(
                json!(["redfish-1"]),
                "power.set",
                json!({"state": "on", "x": 1}),
            ),
            422,
            "invalid_params",
        ),
        (
            "/v1/tasks",
            on(json!(["echo-0001", "redfish-1"]), "noop", json!({})),
            422,
            "unknown_action",
        ),
        (
            "/v1/tasks",
            json!({"targets": ["echo-0001"], "action": "noop", "timeout": "3 moons"}),
            422,
            "invalid_field",
        ),
        (
            "/v1/tasks",
            json!({"targets": ["echo-0001"], "action": "noop", "colour": 1}),
            422,
            "invalid_field",
        ),
        (
            "/v1/tasks",
            json!({"targets": ["echo-0001"], "action": "noop", "effect": "read"}),
            422,
            "invalid_field",
        ),
        (
            "/v1/runs",
            json!({"action": "noop", "selector": "kind=lamp"}),
            422,
            "no_targets",
        ),
        (
            "/v1/runs",
            json!({"action": "noop", "selector": "a in b"}),
            422,
            "invalid_selector",
        ),
        (
            "/v1/runs",
            json!({"action": "noop", "selector": "kind=echo", "batch": "0"}),
            422,
            "invalid_field",
        ),
        (
            "/v1/runs",
            json!({"action": "noop", "selector": "kind=echo", "maxFail": "200%"}),
            422,
            "invalid_field",
        ),
        ("/v1/runs", json!({"action": "noop"}), 422, "no_targets"),
        (
            "/v1/runs/r-0000000000001/cancel",
            json!({}),
            404,
            "not_found",
        ),
        (
            "/v1/tasks/t-0000000000001/cancel",
            json!({}),
            404,
            "not_found",
        ),
        ("/v1/tasks/lamp/cancel", json!({}), 404, "not_found"),
        ("/v1/targets/nobody/uncordon", json!({}), 404, "not_found"),
        ("/v1/lamps", json!({}), 404, "no_such_route"),
        ("/v1/version", json!({}), 405, "method_not_allowed"),
    ];
    for (path, body, status, code) in posts {
        println!("{path} {body}");
        problem(&api.post(path, &body), status, code);
    }
    let gets = [
        ("/v1/records/Lamp", 422, "unknown_kind"),
        ("/v1/records/Target/nobody", 404, "not_found"),
        ("/v1/records/Target?colour=red", 422, "invalid_field"),
        (
            "/v1/records/Target?selector=a%20in%20b",
            422,
            "invalid_selector",
        ),
        ("/v1/records/Target?limit=many", 422, "invalid_field"),
        ("/v1/tasks?cursor=lamp", 422, "invalid_field"),
        ("/v1/tasks?status=great", 422, "invalid_field"),
        ("/v1/tasks?run=lamp", 422, "invalid_field"),
        ("/v1/tasks/t-0000000000001", 404, "not_found"),
        ("/v1/runs/lamp", 404, "not_found"),
        ("/v1/why/lamp/x", 404, "not_found"),
        ("/v1/kinds/lamp", 404, "not_found"),
        ("/v1/watch?from=yesterday", 422, "invalid_field"),
        ("/v1/nothing", 404, "no_such_route"),
        ("/%00%ff", 404, "no_such_route"),
    ];
    for (path, status, code) in gets {
        println!("{path}");
        problem(&api.call("GET", path, &[], b""), status, code);
    }
    let json = [("content-type", "application/json")];
    problem(
        &api.call("POST", "/v1/tasks", &json, b"{\"targets\":"),
        422,
        "syntax",
    );
    problem(&api.call("POST", "/v1/apply", &json, b"[]"), 422, "syntax");
    problem(&api.yaml("\u{feff}kind: \u{0}"), 422, "syntax");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!("{{\"action\":\"noop\",\"selector\":\"kind=echo\",\"params\":{deep}}}");
    let reply = api.call("POST", "/v1/runs", &json, body.as_bytes());
    problem(&reply, 422, "syntax");
    assert!((400..500).contains(&api.yaml(&deep).status));
    assert!((400..500).contains(&api.yaml(&format!("a: {deep}")).status));
    assert_eq!(state(api), before, "nothing was changed");
}

#[test]
fn nothing_but_health_answers_without_the_right_token() {
    let sengu = Instance::start();
    let mut wrong = sengu.api.clone();
    for (token, word) in [
        (None, "no token"),
        (Some("0".repeat(64)), "not right"),
        (Some(String::new()), ""),
    ] {
        wrong.token = token;
        for path in [
            "/v1/version",
            "/v1/records/Secret",
            "/metrics",
            "/v1/openapi.json",
            "/v1/watch",
        ] {
            let reply = wrong.call("GET", path, &[], b"");
            let refused = problem(&reply, 401, "unauthenticated");
            assert!(
                refused["detail"].as_str().unwrap().contains(word),
                "{refused}"
            );
            assert!(
                refused["hint"].as_str().unwrap().contains("token"),
                "{refused}"
            );
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
        assert_eq!(wrong.post("/v1/runs", &json!({})).status, 401);
        assert_eq!(wrong.call("GET", "/healthz", &[], b"").status, 200);
        assert_eq!(wrong.call("GET", "/readyz", &[], b"").status, 200);
    }
}

#[test]
fn the_same_idempotency_key_does_nothing_twice_and_another_request_under_it_is_refused() {
    let sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(3)).expect(200);
    let post = |key: &str, body: &Value| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        sengu
            .api
            .call("POST", "/v1/runs", &headers, body.to_string().as_bytes())
    };
    let body = json!({"action": "noop", "selector": "kind=echo"});
    let first = post("k1", &body).expect(202);
    let again = post("k1", &body).expect(202);
    assert_eq!(first["metadata"]["name"], again["metadata"]["name"]);
    let other = json!({"action": "noop", "selector": "kind=echo", "limit": 1});
    problem(&post("k1", &other), 422, "idempotency_mismatch");
    post("k2", &body).expect(202);
    assert_eq!(sengu.pages("/v1/records/Run?limit=100").len(), 2);
    // A refusal is not remembered: the mended world is asked anew.
    let later = json!({"action": "noop", "targets": ["later"]});
    problem(&post("k3", &later), 422, "unknown_target");
    sengu.api.yaml(&target("later")).expect(200);
    post("k3", &later).expect(202);
}

#[test]
fn a_write_on_an_old_revision_is_refused() {
    let sengu = Instance::start();
    let api = &sengu.api;
    api.yaml(&target("a")).expect(200);
    let json = [("content-type", "application/json")];
    let put = |record: &Value| {
        api.call(
            "PUT",
            "/v1/records/Target/a",
            &json,
            record.to_string().as_bytes(),
        )
    };
    let mut record = api.get("/v1/records/Target/a");
    record["metadata"]["labels"] = json!({"row": "r1"});
    let newer = put(&record).expect(200);
    assert_eq!(newer["metadata"]["labels"]["row"], "r1");
    record["metadata"]["labels"] = json!({"row": "r2"});
    problem(&put(&record), 409, "conflict");
    assert_eq!(
        api.get("/v1/records/Target/a")["metadata"]["labels"]["row"],
        "r1"
    );
    let old = record["metadata"]["revision"].as_u64().unwrap();
    let path = format!("/v1/records/Target/a?revision={old}");
    problem(&api.call("DELETE", &path, &[], b""), 409, "conflict");
    record["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("revision");
    put(&record).expect(200);
    record["metadata"]["name"] = json!("b");
    problem(&put(&record), 422, "invalid_field");
}

/// Sends a request and hangs up without reading the answer.
fn and_gone(api: &Api, path: &str, headers: &str, body: &str, after: Duration) {
    let mut stream = TcpStream::connect(&api.address).unwrap();
    let token = api.token.as_deref().unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    std::thread::sleep(after);
}

#[test]
fn what_a_caller_asked_before_going_away_is_done_whole_and_once() {
    let sengu = Instance::start();
    let api = &sengu.api;
    api.yaml(&fleet::echo(500)).expect(200);
    let names: Vec<String> = (1..=500).map(|n| format!("echo-{n:04}")).collect();
    let yaml = "content-type: application/yaml\r\n";
    let mut wanted = 500;
    for round in 0..12_u64 {
        let after = Duration::from_millis(round * 2);
        let set: String = (0..200)
            .map(|n| target(&format!("gone-{round}-{n}")) + "---\n")
            .collect();
        and_gone(api, "/v1/apply", yaml, &set, after);
        wanted += 200;
        until("the set is there, in the store and in sight", s(10), || {
            let stored = api.get("/v1/version")["store"]["records"].as_u64()?;
            let seen = api.get("/v1/top")["targets"]["total"].as_u64()?;
            (seen == wanted && stored >= wanted).then_some(())
        });

        let body = json!({"targets": names, "action": "noop"}).to_string();
        let key = format!("round-{round}");
        let headers = format!("content-type: application/json\r\nidempotency-key: {key}\r\n");
        and_gone(api, "/v1/tasks", &headers, &body, after);
        // Asked once more, as the command line does when an answer is lost.
        let made = until("the answer of the first request", s(10), || {
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", key.as_str()),
            ];
            let reply = api.call("POST", "/v1/tasks", &headers, body.as_bytes());
            (reply.status != 409).then(|| reply.expect(202))
        });
        let last = made["tasks"].as_array().unwrap().last().unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        sengu.ended(&last, s(10));
    }
    until("no task is left", s(10), || {
        let store = &api.get("/v1/version")["store"];
        (store["tasksOpen"] == 0).then(|| assert_eq!(store["tasksEnded"], 12 * 500))
    });
}
