//! Who did what: every change that the API takes is kept with who asked for it, and nothing else is.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use axum::http::{Method, StatusCode};
use sengu_model::{Class, FailureCode, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::fleet::{image, push};
use support::http::{HOST, ask, get};
use support::{Bench, done};

const ALICE: [(&str, &str); 2] = [
    ("authorization", "Bearer token"),
    ("sengu-name", "alice@ops1"),
];

/// Routes that change something, as `method path` of the API's document, that were asked for.
struct Script<'b> {
    bench: &'b Bench,
    asked: BTreeSet<String>,
    kept: usize,
}

impl Script<'_> {
    async fn entries(&self) -> Vec<Value> {
        let page = get(&self.bench.logic, "/v1/audit?limit=1000").await;
        page["items"].as_array().unwrap().clone()
    }

    /// Asks as Alice; gives the answer and what was kept of it.
    async fn act(&mut self, route: &str, path: &str, body: Value) -> (Value, Vec<Value>) {
        let method = route.split(' ').next().unwrap().to_uppercase();
        let method: Method = method.parse().unwrap();
        let reply = ask(&self.bench.logic, method, path, &ALICE, &body).await;
        assert!(reply.status.is_success(), "{route}: {}", reply.body);
        self.asked.insert(route.to_owned());
        let all = self.entries().await;
        let fresh = all[..all.len() - self.kept].to_vec();
        self.kept = all.len();
        (reply.body, fresh)
    }

    /// The same where one act is kept: `what kind/name`.
    async fn one(&mut self, route: &str, path: &str, body: Value, wanted: &str) -> Value {
        let (answer, fresh) = self.act(route, path, body).await;
        assert_eq!(fresh.len(), 1, "{route}: {fresh:?}");
        let entry = &fresh[0];
        let by = json!({"role": "operator", "name": "alice@ops1", "via": "token"});
        assert_eq!(entry["by"], by, "{route}");
        let said = format!(
            "{} {}/{}",
            entry["what"].as_str().unwrap(),
            entry["kind"].as_str().unwrap(),
            entry["name"].as_str().unwrap()
        );
        assert_eq!(said, wanted, "{route}");
        answer
    }
}

fn document(name: &str, rack: &str) -> Value {
    let text = format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}, labels: {{rack: {rack}}}}}\n\
         spec: {{kind: toy, address: 127.0.0.1}}\n"
    );
    json!({"sources": [{"name": "a.yaml", "text": text}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_kept_with_who_asked_for_it() {
    let mut bench = Bench::new(8, 4).await;
    push(&bench, image("1.1.0", "other bytes")).await.unwrap();
    let kept = get(&bench.logic, "/v1/audit?limit=1000").await["items"]
        .as_array()
        .unwrap()
        .len();
    let (asked, logic) = (BTreeSet::new(), bench.logic.clone());
    // Holds the lane of t3, so that whatever is asked of it afterwards waits and can be paused or cancelled.
    let sent = bench.create("set", &["t3"]).await;
    let first = bench.take(Class::Control).await;
    assert_eq!(first.task, sent[0]);
    let kept = kept + 1;
    let mut script = Script {
        bench: &bench,
        asked,
        kept,
    };
    let s = &mut script;
    s.one(
        "post /v1/apply",
        "/v1/apply",
        document("new", "r1"),
        "created Target/new",
    )
    .await;
    let (_, fresh) = s
        .act("post /v1/apply", "/v1/apply", document("new", "r2"))
        .await;
    assert_eq!(fresh[0]["what"], "configured");
    let field = json!([{"path": "labels.rack", "before": "r1", "after": "r2"}]);
    assert_eq!(fresh[0]["fields"], field);
    let (_, fresh) = s
        .act("post /v1/apply", "/v1/apply", document("new", "r2"))
        .await;
    assert!(fresh.is_empty(), "nothing was changed: {fresh:?}");
    let mut dry = document("never", "r2");
    for path in ["/v1/apply?dryRun=true", "/v1/apply"] {
        let (_, fresh) = s.act("post /v1/apply", path, dry.clone()).await;
        assert!(fresh.is_empty(), "a dry run does nothing: {fresh:?}");
        assert!(logic.record("Target", "never").is_none(), "{path}");
        dry["dryRun"] = json!(true);
    }
    let secret = json!({"apiVersion": "sengu/v1", "kind": "Secret", "metadata": {"name": "s"},
        "spec": {"data": {"password": "hunter2"}}});
    let put = "put /v1/records/{kind}/{name}";
    s.one(put, "/v1/records/Secret/s", secret, "created Secret/s")
        .await;
    let delete = "delete /v1/records/{kind}/{name}";
    s.one(
        delete,
        "/v1/records/Secret/s",
        Value::Null,
        "deleted Secret/s",
    )
    .await;
    s.one(
        delete,
        "/v1/records/Target/new",
        Value::Null,
        "deleted Target/new",
    )
    .await;
    let uncordon = "post /v1/targets/{name}/uncordon";
    s.one(
        uncordon,
        "/v1/targets/t0/uncordon",
        Value::Null,
        "uncordoned Target/t0",
    )
    .await;

    let promoted = json!({"version": "1.1.0", "share": "50%"});
    let promote = "post /v1/releases/{kind}/promote";
    s.one(
        promote,
        "/v1/releases/toy/promote",
        promoted,
        "promoted Release/toy",
    )
    .await;
    let rollback = "post /v1/releases/{kind}/rollback";
    s.one(
        rollback,
        "/v1/releases/toy/rollback",
        json!({}),
        "rolled-back Release/toy",
    )
    .await;

    for (verb, what) in [
        ("cordon", "cordoned"),
        ("drain", "drained"),
        ("uncordon", "uncordoned"),
        ("upgrade", "upgraded"),
    ] {
        let route = format!("post /v1/wees/{{name}}/{verb}");
        let path = format!("/v1/wees/wee-default/{verb}");
        s.one(
            &route,
            &path,
            Value::Null,
            &format!("{what} Wee/wee-default"),
        )
        .await;
    }

    let task = json!({"action": "set", "targets": ["t3"]});
    let (created, fresh) = s.act("post /v1/tasks", "/v1/tasks", task).await;
    let id = created["tasks"][0]["id"].as_str().unwrap();
    assert_eq!(
        (&fresh[0]["name"], &fresh[0]["targets"]),
        (&json!(id), &json!(["t3"]))
    );
    assert_eq!(fresh[0]["note"], "set on 1 target");
    let read = json!({"action": "observe", "targets": ["t0"]});
    let (_, fresh) = s.act("post /v1/tasks", "/v1/tasks", read).await;
    assert!(fresh.is_empty(), "looking changes nothing: {fresh:?}");
    let (path, wanted) = (
        format!("/v1/tasks/{id}/cancel"),
        format!("cancelled Task/{id}"),
    );
    s.one("post /v1/tasks/{id}/cancel", &path, Value::Null, &wanted)
        .await;

    let spec = json!({"action": "set", "targets": ["t3"]});
    let (run, fresh) = s.act("post /v1/runs", "/v1/runs", spec).await;
    let run = run["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(
        (&fresh[0]["what"], &fresh[0]["name"]),
        (&json!("created"), &json!(run))
    );
    for (verb, what) in [
        ("pause", "paused"),
        ("resume", "resumed"),
        ("cancel", "cancelled"),
    ] {
        let route = format!("post /v1/runs/{{name}}/{verb}");
        let path = format!("/v1/runs/{run}/{verb}");
        s.one(&route, &path, Value::Null, &format!("{what} Run/{run}"))
            .await;
    }
    bench.run_when(&run, &["Cancelled"]).await;
    let retry = "post /v1/runs/{name}/retry";
    let path = format!("/v1/runs/{run}/retry");
    s.one(retry, &path, json!({}), &format!("retried Run/{run}"))
        .await;

    // By another door: what a session does is of whoever began it.
    let begin = json!({"token": "token", "name": "ボブ"});
    let begun = ask(&logic, Method::POST, "/v1/session", &[], &begin).await;
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let origin = format!("http://{HOST}");
    let page = [("cookie", cookie), ("origin", origin.as_str())];
    let reply = ask(
        &logic,
        Method::POST,
        "/v1/targets/t1/uncordon",
        &page,
        &Value::Null,
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
    let by = &s.entries().await[0]["by"];
    assert_eq!(
        *by,
        json!({"role": "operator", "name": "ボブ", "via": "cookie"})
    );

    let document: Value = serde_json::from_str(&sengu_logic::api::document()).unwrap();
    let mut left = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|m| *m != "get") {
            let route = format!("{method} {path}");
            if !s.asked.contains(&route) {
                left.insert(route);
            }
        }
    }
    // Sessions change nothing. Pushes are above; moves need a store to move to.
    let known = [
        "delete /v1/session",
        "delete /v1/store/move",
        "post /v1/session",
        "post /v1/session/code",
        "post /v1/store/move",
        "post /v1/workers",
    ];
    assert_eq!(left, known.map(str::to_owned).into());
    drop(script);
    bench.end(&first, &done()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_read_from_the_newest_on_by_pages_and_by_what_is_looked_for() {
    let mut bench = Bench::new(2, 0).await;
    for n in 0..30 {
        bench
            .apply(&format!(
                "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: m{n}}}\nspec: {{kind: toy, address: 127.0.0.1}}\n"
            ))
            .await;
    }
    let task = bench.create("set", &["m7", "m8"]).await;
    let (mut path, mut seen) = ("/v1/audit?kind=Target&limit=7".to_owned(), Vec::new());
    loop {
        let page = get(&bench.logic, &path).await;
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= 7);
        seen.extend(items.iter().map(|i| i["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["cursor"].as_str() else {
            break;
        };
        path = format!("/v1/audit?kind=Target&limit=7&cursor={cursor}");
    }
    let wanted: Vec<String> = (0..30).rev().map(|n| format!("m{n}")).collect();
    assert_eq!(seen, wanted);
    let of = async |query: &str| {
        let page = get(&bench.logic, &format!("/v1/audit?{query}")).await;
        let items = page["items"].as_array().unwrap().clone();
        let said = |i: &Value| {
            format!(
                "{} {}",
                i["what"].as_str().unwrap(),
                i["kind"].as_str().unwrap()
            )
        };
        items.iter().map(said).collect::<Vec<_>>()
    };
    // What was done to a target is told of its tasks too.
    assert_eq!(of("name=m7").await, ["created Task", "created Target"]);
    assert_eq!(of(&format!("name={}", task[0])).await, ["created Task"]);
    assert_eq!(
        of("name=m7&what=created&kind=Task&by=sengu").await,
        ["created Task"]
    );
    assert!(of("name=m7&by=alice").await.is_empty());
    let token = [("authorization", "Bearer token")];
    for bad in ["cursor=x", "limit=x", "who=x"] {
        let path = format!("/v1/audit?{bad}");
        let reply = ask(&bench.logic, Method::GET, &path, &token, &Value::Null).await;
        assert!(reply.status.is_client_error(), "{bad}: {}", reply.status);
    }
    // It outlives a restart.
    for _ in 0..2 {
        let sent = bench.take(Class::Control).await;
        let failed = Outcome::failed(FailureCode::Refused, "no");
        bench.end(&sent, &failed).await;
    }
    let bench = bench.restart().await;
    let page = get(&bench.logic, "/v1/audit?name=m7").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_none_is_refused_and_no_secret_is_kept() {
    let bench = Bench::new(0, 1).await;
    let long = "x".repeat(101);
    for bad in [" ", "a\tb", long.as_str()] {
        let headers = [("authorization", "Bearer token"), ("sengu-name", bad)];
        let reply = ask(
            &bench.logic,
            Method::GET,
            "/v1/version",
            &headers,
            &Value::Null,
        )
        .await;
        assert_eq!(
            reply.body["code"], "invalid_field",
            "{bad:?}: {}",
            reply.body
        );
        let begin = json!({"token": "token", "name": bad});
        let reply = ask(&bench.logic, Method::POST, "/v1/session", &[], &begin).await;
        assert_eq!(
            reply.body["code"], "invalid_field",
            "{bad:?}: {}",
            reply.body
        );
    }
    for value in ["hunter2", "hunter3"] {
        let secret = json!({"apiVersion": "sengu/v1", "kind": "Secret", "metadata": {"name": "s"},
            "spec": {"data": {"password": value}}});
        let path = "/v1/records/Secret/s";
        let reply = ask(&bench.logic, Method::PUT, path, &ALICE, &secret).await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }
    let entries = bench
        .store
        .entries(sengu_store::AUDIT, 0, 0, 100)
        .await
        .unwrap();
    let all: String = entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.body).into_owned())
        .collect();
    assert!(all.contains("spec.data.password"), "{all}");
    assert!(!all.contains("hunter"), "{all}");
    let sealed = bench.logic.record("Secret", "s").unwrap().spec["data"]["password"].clone();
    assert!(!all.contains(sealed.as_str().unwrap()), "not even sealed");
}
