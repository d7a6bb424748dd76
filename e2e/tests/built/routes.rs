//! Every documented GET route answers as documented; a worker in another language is one like the others.

use sengu_e2e::{Fleet, Instance, Value, folder, json, s};
use std::process::Command;

fn document() -> Value {
    let out = Command::new(folder().join("sengu"))
        .arg("openapi")
        .output()
        .unwrap();
    assert!(out.status.success());
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn every_documented_get_route_answers_as_documented() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("redfish", 2, &[]);
    fleet.apply(&sengu);
    let run = sengu.run(&json!({"action": "observe", "selector": "kind=redfish"}));
    sengu.over(&run, s(20));
    let task = sengu.api.get(&format!("/v1/tasks?run={run}"))["items"][0]["id"].clone();
    let task = task.as_str().unwrap();
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(sengu.api.get("/v1/openapi.json"), document);
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else {
            continue;
        };
        let forms: &[&[(&str, &str)]] = match path.as_str() {
            "/v1/records/{kind}" => &[
                &[("kind", "Target")],
                &[("kind", "Secret")],
                &[("kind", "Schedule")],
                &[("kind", "Run")],
                &[("kind", "Worker")],
                &[("kind", "Wee")],
                &[("kind", "Release")],
            ],
            "/v1/records/{kind}/{name}" => &[
                &[("kind", "Target"), ("name", "redfish-1")],
                &[("kind", "Secret"), ("name", "redfish")],
                &[("kind", "Worker"), ("name", "ssh@1.0.0")],
                &[("kind", "Wee"), ("name", "local")],
                &[("kind", "Release"), ("name", "ssh")],
            ],
            "/v1/kinds/{name}" => &[
                &[("name", "Target")],
                &[("name", "redfish")],
                &[("name", "redfish.power.set")],
            ],
            "/v1/why/{object}/{name}" => &[
                &[("object", "target"), ("name", "redfish-1")],
                &[("object", "run"), ("name", "RUN")],
                &[("object", "task"), ("name", "TASK")],
            ],
            "/v1/runs/{name}"
            | "/v1/runs/{name}/targets"
            | "/v1/runs/{name}/grid"
            | "/v1/runs/{name}/grid/watch" => &[&[("name", "RUN")]],
            "/v1/targets/{name}/history" => &[&[("name", "redfish-1")]],
            "/v1/tasks/{id}" | "/v1/tasks/{id}/logs" | "/v1/tasks/{id}/explain" => {
                &[&[("id", "TASK")]]
            }
            path if !path.contains('{') => &[&[]],
            path => panic!("{path}: say here what to ask for"),
        };
        for form in forms {
            let mut path = path.clone();
            for (key, value) in *form {
                let value = value.replace("RUN", &run).replace("TASK", task);
                path = path.replace(&format!("{{{key}}}"), &value);
            }
            let documented = get["responses"]["200"].clone();
            assert!(documented.is_object(), "{path} documents no 200: {get}");
            if documented["content"]["text/event-stream"].is_object() {
                let parameters = get["parameters"].as_array();
                let resumes = parameters.is_some_and(|all| all.iter().any(|p| p["name"] == "from"));
                let from = if resumes { "?from=0" } else { "" };
                let mut events = sengu.api.events(&format!("{path}{from}"), &[]);
                assert!(events.next(s(10)).is_some(), "{path}: no event");
            } else {
                let reply = sengu.api.call("GET", &path, &[], b"");
                assert!(
                    reply.header("content-type").starts_with("application/json"),
                    "{path}"
                );
                let body = reply.expect(200);
                let schema = &documented["content"]["application/json"]["schema"];
                fits(&document, schema, &body, &path);
            }
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    let metrics = sengu.api.call("GET", "/metrics", &[], b"");
    assert!(metrics.header("content-type").starts_with("text/plain"));
    for name in ["sengu_targets 2", "sengu_queue_in_flight{"] {
        assert!(metrics.text().contains(name), "{}", metrics.text());
    }
}

/// As far as a schema can be held without a library: types, required fields, items.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#'));
        return fits(
            document,
            schema.unwrap_or_else(|| panic!("{at}: {name}")),
            value,
            at,
        );
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: type {other}"),
    };
    let right = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|n| is(n.as_str().unwrap())),
        _ => true,
    };
    assert!(right, "{at}: {value} is not {}", schema["type"]);
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(value.get(name).is_some(), "{at}: no {name} in {value}");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            fits(document, schema, value, &format!("{at}.{name}"));
        }
    }
    if schema["items"].is_object() {
        for (n, value) in value.as_array().into_iter().flatten().enumerate() {
            fits(document, &schema["items"], value, &format!("{at}[{n}]"));
        }
    }
}

#[test]
fn a_worker_in_another_language_is_driven_like_the_others() {
    let sengu = Instance::start();
    let targets: String = (1..=20)
        .map(|n| format!("apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: py-{n}}}\nspec: {{kind: hello-python, address: x}}\n---\n"))
        .collect();
    sengu.api.yaml(&targets).expect(200);
    sengu.cli(&["observe", "-l", "kind=hello-python"]).expect(0);
    let known = sengu
        .cli(&["get", "targets", "-l", "vendor=python", "-o", "name"])
        .expect(0);
    assert_eq!(known.stdout.lines().count(), 20);
    let record = sengu.api.get("/v1/records/Target/py-1");
    assert_eq!(
        record["status"]["readings"][0]["name"], "hello_up",
        "{record}"
    );
    let run = sengu.run(&json!({"action": "greet", "params": {"name": "rack"}, "selector": "kind=hello-python", "batch": "25%"}));
    let over = sengu.over(&run, s(30));
    assert_eq!(over["status"]["counts"]["changed"], 20, "{over}");
    let task = sengu.task("py-1", "greet", json!({"name": "you"}), s(10));
    assert_eq!(task["ending"]["outcome"]["result"], "hello, you", "{task}");
    // It dies like the others, and comes back like them.
    let run = sengu
        .run(&json!({"action": "greet", "params": {"name": "x"}, "selector": "kind=hello-python"}));
    let died: usize = sengu.workers("").iter().map(|w| w.kill()).count();
    assert!(died > 0);
    let over = sengu.over(&run, s(40));
    assert_eq!(over["status"]["counts"]["done"], 20, "{over}");
    let explained = sengu.cli(&["explain", "hello-python.greet"]).expect(0);
    assert!(
        explained.stdout.contains("params.name"),
        "{}",
        explained.stdout
    );
}
