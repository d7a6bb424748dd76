//! One worker in every runtime that it declares: the same conformance kit and the same day of work, as a process, as a
//! container and as a WASM component.

use sengu_e2e::{Engine, Instance, Value, folder, json, s, until};

const TARGETS: usize = 20;

fn start(runtime: &str, engine: Option<&Engine>) -> Instance {
    let mut sengu = Instance::prepare();
    sengu.arguments = vec!["--runtime".to_owned(), runtime.to_owned()];
    if let Some(engine) = engine {
        std::fs::create_dir_all(&sengu.data).unwrap();
        let text = format!("[docker]\nsocket = {:?}\n", engine.socket());
        std::fs::write(sengu.data.join("sengu.toml"), text).unwrap();
    }
    sengu.up();
    let targets: Vec<String> = (0..TARGETS)
        .map(|n| {
            format!("apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: e{n}}}\nspec: {{kind: echo, address: e{n}}}\n")
        })
        .collect();
    let file = sengu.beside("targets.yaml");
    std::fs::write(&file, targets.join("---\n")).unwrap();
    sengu
        .cli(&["apply", "-f", &file.display().to_string()])
        .expect(0);
    sengu
}

fn all_done(sengu: &Instance, action: &str, params: &Value) {
    let run = sengu.run(&json!({"action": action, "params": params, "selector": "name"}));
    let over = sengu.over(&run, s(60));
    assert_eq!(
        over["status"]["counts"]["done"], TARGETS,
        "{action}: {over}"
    );
}

/// What any worker does in a day.
fn a_day(sengu: &Instance, runtime: &str) {
    all_done(sengu, "observe", &json!({}));
    all_done(sengu, "noop", &json!({}));
    all_done(sengu, "once", &json!({}));
    let said = sengu
        .cli(&["run", "say", "target/e1", "text=hello", "-o", "json"])
        .expect(0);
    assert!(said.stdout.contains("hello"), "{}", said.stdout);
    let worker = |sengu: &Instance| {
        let all = sengu
            .cli(&["get", "workers", "-o", "json"])
            .expect(0)
            .json();
        let all = all
            .as_array()
            .cloned()
            .unwrap_or_else(|| all["items"].as_array().unwrap().clone());
        all.into_iter().find(|w| w["kind"] == "echo").unwrap()
    };
    let echo = worker(sengu);
    assert!(echo.get("broken").is_none(), "{echo}");
    assert!(echo.get("complaints").is_none(), "{echo}");
    let wees = sengu.api.get("/v1/top");
    let pools = wees["wees"][0]["pools"].as_array().unwrap();
    let pool = pools.iter().find(|p| p["kind"] == "echo").unwrap();
    assert_eq!(pool["runtime"], runtime, "{pool}");
}

fn kit(runtime: &str, environment: &[(&str, &str)]) {
    let sengu = Instance::prepare();
    let echo = folder().join("workers/echo").display().to_string();
    let ran = sengu.cli_with(
        &["worker", "check", "--runtime", runtime, &echo],
        environment,
    );
    ran.expect(0);
}

#[test]
fn as_a_process() {
    a_day(&start("process", None), "process");
}

#[test]
fn as_a_component() {
    kit("wasm", &[]);
    a_day(&start("wasm", None), "wasm");
}

#[test]
fn as_a_container_also_when_the_engine_goes_and_comes() {
    let mut engine = Engine::start();
    let socket = engine.socket().display().to_string();
    kit("docker", &[("SENGU_DOCKER_SOCKET", &socket)]);
    let sengu = start("docker", Some(&engine));
    a_day(&sengu, "docker");
    engine.end();
    // What is asked meanwhile waits, and says why.
    let run = sengu.run(&json!({"action": "noop", "selector": "name"}));
    let why = until("why it waits", s(60), || {
        let said = sengu.cli(&["why", &format!("run/{run}")]);
        let said = said.stdout + &said.stderr;
        said.contains("Docker").then_some(said)
    });
    assert!(!why.is_empty());
    engine.begin();
    let over = sengu.over(&run, s(90));
    assert_eq!(over["status"]["counts"]["done"], TARGETS, "{over}");
    all_done(&sengu, "once", &json!({}));
}
