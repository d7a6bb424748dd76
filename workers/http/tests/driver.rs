//! The library alone, without sockets: whoever holds a driver answers its requests, as a component's host would.

use sengu_worker_http::{
    Done, Driver, End, FailureCode, Memory, Outcome, Request, Response, Step, Task, Trouble, Trust,
};
use serde_json::{Value, json};
use std::sync::Arc;

const NOW: u64 = 1_800_000_000_000;

/// Walks a task to its end on a clock of its own; `answer` plays the server.
fn walk(
    task: &Value,
    memory: &Arc<Memory>,
    mut answer: impl FnMut(&Request) -> Result<Response, Trouble>,
) -> (End, Vec<String>, u64) {
    let task = Task::from_frame(&task.to_string()).expect("a frame");
    let mut now = NOW;
    let mut driver = Driver::new(task, memory.clone(), now);
    let mut said = Vec::new();
    for _ in 0..1_000 {
        match driver.next(now) {
            Step::Fetch(request) => {
                said.push(format!("{} {}", request.method, request.url));
                now += 10;
                driver.feed(answer(&request));
            }
            Step::Wait { ms } => now += ms.max(1),
            Step::Checkpoint(mark) => said.push(format!("mark {mark}")),
            Step::End(end) => {
                let again = driver.next(now);
                assert!(matches!(again, Step::End(_)), "it stays at its end");
                return (end, said, now - NOW);
            }
        }
    }
    panic!("no end after 1000 steps: {said:?}");
}

fn task(action: &str, params: Value, config: Value) -> Value {
    let whole = merged(json!({"tls": {"plain": true}}), config);
    json!({
        "type": "task", "id": "t-1", "fence": "1.1", "action": action, "params": params, "timeout_ms": 10_000,
        "target": {"name": "t", "address": "http://plant:8080", "config": whole},
        "secrets": {"token": "sesame-1", "clientId": "c", "clientSecret": "sesame-2"},
    })
}

/// The members of both.
fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Response, Trouble> {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    Ok(Response {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.as_bytes().to_vec(),
    })
}

fn fresh() -> Arc<Memory> {
    Arc::default()
}

fn code(end: &End) -> FailureCode {
    match &end.outcome {
        Outcome::Failed(failure) => failure.code,
        other => panic!("no failure: {other:?}"),
    }
}

fn power() -> Value {
    json!({"sources": [{"path": "/api/power", "readings": [{"name": "power_watts", "pointer": "/w"}]}]})
}

#[test]
fn redirects_stay_on_the_origin_and_end() {
    let table = [
        ("/new/power", Ok("GET http://plant:8080/new/power")),
        ("http://plant:8080/abs", Ok("GET http://plant:8080/abs")),
        ("sibling", Ok("GET http://plant:8080/api/sibling")),
        (
            "https://plant:8080/power",
            Err("\"https://plant:8080\", another origin"),
        ),
        (
            "http://evil.example/x?state=1",
            Err("\"http://evil.example\", another origin"),
        ),
        ("//evil.example", Err("\"//evil.example\", another origin")),
        ("http://plant:8080@evil.example/", Err("another origin")),
        ("", Err("another origin")),
    ];
    for (location, want) in table {
        let (end, said, _) =
            walk(
                &task("observe", json!({}), power()),
                &fresh(),
                |request| match request.url.ends_with("/api/power") {
                    true => reply(302, &[("Location", location)], ""),
                    false => reply(200, &[], r#"{"w": 5}"#),
                },
            );
        match want {
            Ok(url) => {
                assert_eq!(said[1], url);
                assert_eq!(end.readings[0].value, 5.0);
            }
            Err(want) => {
                assert_eq!(code(&end), FailureCode::Refused);
                let Outcome::Failed(failure) = &end.outcome else {
                    unreachable!()
                };
                assert!(failure.message.contains(want), "{}", failure.message);
                assert_eq!(said.len(), 1, "{said:?}");
            }
        }
    }
    let (end, said, _) = walk(&task("observe", json!({}), power()), &fresh(), |_| {
        reply(307, &[("location", "/api/power")], "")
    });
    assert_eq!((code(&end), said.len()), (FailureCode::Refused, 6));
}

fn pump(effect: &str, more: Value) -> Value {
    let request =
        json!({"method": "POST", "path": "/pump", "effect": effect, "body": {"on": true}});
    json!({"requests": {"pump": merged(request, more)}})
}

fn equals() -> Value {
    json!({"readBack": {"path": "/pump", "pointer": "/on", "equals": true}})
}

/// How an answer to a change ends, with and without something to read back.
#[test]
fn an_answer_is_worth_what_it_says() {
    let silent = || Err(Trouble::Silent("POST /pump: no answer in time".to_owned()));
    let unreachable = || Err(Trouble::unreachable("plant: connection refused"));
    type Play = fn() -> Result<Response, Trouble>;
    let table: &[(&str, Play, &str, &str)] = &[
        // (what, answer, by status alone, with a read-back that never comes true)
        ("200", || reply(200, &[], "{}"), "done", "unknown"),
        ("201", || reply(201, &[], ""), "done", "unknown"),
        ("202", || reply(202, &[], ""), "unknown", "unknown"),
        ("204", || reply(204, &[], ""), "done", "unknown"),
        (
            "303",
            || reply(303, &[("location", "/pump")], ""),
            "unknown",
            "unknown",
        ),
        ("400", || reply(400, &[], ""), "refused", "refused"),
        ("401", || reply(401, &[], ""), "auth_failed", "auth_failed"),
        ("403", || reply(403, &[], ""), "auth_failed", "auth_failed"),
        ("404", || reply(404, &[], ""), "refused", "refused"),
        ("412", || reply(412, &[], ""), "refused", "refused"),
        (
            "429",
            || reply(429, &[("retry-after", "3")], ""),
            "busy",
            "busy",
        ),
        ("500", || reply(500, &[], ""), "unknown", "unknown"),
        ("502", || reply(502, &[], ""), "unknown", "unknown"),
        ("503", || reply(503, &[], ""), "busy", "busy"),
        ("504", || reply(504, &[], ""), "unknown", "unknown"),
        (
            "silent",
            || Err(Trouble::Silent("x".to_owned())),
            "unknown",
            "unknown",
        ),
        (
            "cut",
            || Err(Trouble::Cut("x".to_owned())),
            "unknown",
            "unknown",
        ),
        (
            "garbled",
            || Err(Trouble::Garbled("x".to_owned())),
            "unknown",
            "unknown",
        ),
        (
            "unreachable",
            || Err(Trouble::unreachable("x")),
            "unreachable",
            "unreachable",
        ),
    ];
    for (what, play, alone, read_back) in table {
        for (more, want) in [(json!({"proof": "status"}), alone), (equals(), read_back)] {
            let mut posts = 0;
            let whole = task(
                "request.run",
                json!({"request": "pump"}),
                pump("once", more),
            );
            let (end, _, _) = walk(&whole, &fresh(), |request| {
                if request.method == "POST" {
                    posts += 1;
                    assert!(!request.repeatable);
                    return play();
                }
                assert!(request.repeatable);
                reply(
                    200,
                    &[("content-type", "application/json")],
                    r#"{"on": false}"#,
                )
            });
            let got = serde_json::to_value(&end.outcome).unwrap();
            let got = got["code"]
                .as_str()
                .or(got["status"].as_str())
                .unwrap()
                .to_owned();
            assert_eq!(
                (got.as_str(), posts),
                (*want, 1),
                "{what}: {:?}",
                end.outcome
            );
        }
    }
    // The gentler effect may be tried again, so what was accepted and is not so is a timeout; and what is so is done.
    for (on, play, want) in [
        (false, reply(202, &[], ""), "timeout"),
        (true, reply(202, &[], ""), "done"),
        (false, silent(), "unknown"),
        (true, silent(), "done"),
        (true, reply(500, &[], ""), "done"),
        (false, unreachable(), "unreachable"),
    ] {
        let mut sent = false;
        let whole = task(
            "request.set",
            json!({"request": "pump"}),
            pump("idempotent", equals()),
        );
        let (end, _, took) = walk(&whole, &fresh(), |request| {
            if request.method == "POST" {
                sent = true;
                return play.clone();
            }
            reply(200, &[], &json!({"on": on && sent}).to_string())
        });
        let got = serde_json::to_value(&end.outcome).unwrap();
        assert_eq!(
            got["code"].as_str().or(got["status"].as_str()),
            Some(want),
            "{got}"
        );
        assert!(took <= 10_000, "{took}");
    }
}

#[test]
fn a_state_that_was_so_before_proves_nothing_about_a_lost_request() {
    let whole = task(
        "request.run",
        json!({"request": "pump"}),
        pump("once", equals()),
    );
    let (end, said, _) = walk(&whole, &fresh(), |request| match request.method.as_str() {
        "POST" => Err(Trouble::Cut("cut".to_owned())),
        _ => reply(200, &[], r#"{"on": true}"#),
    });
    assert!(
        matches!(&end.outcome, Outcome::Unknown { why } if why.contains("tells nothing")),
        "{:?}",
        end.outcome
    );
    assert_eq!(said[1], r#"mark {"before":true,"request":"pump"}"#);
}

#[test]
fn an_etag_goes_with_the_change_and_a_key_with_all_attempts() {
    let more = json!({"proof": "status", "ifMatch": true, "idempotencyKey": true});
    let whole = task(
        "request.run",
        json!({"request": "pump"}),
        pump("once", more.clone()),
    );
    let mut sent = Vec::new();
    let (end, _, _) = walk(&whole, &fresh(), |request| match request.method.as_str() {
        "POST" => {
            sent = request.headers.clone();
            reply(204, &[], "")
        }
        _ => reply(200, &[("ETag", "W/\"7\"")], "{}"),
    });
    assert!(matches!(
        end.outcome,
        Outcome::Done(Done { changed: true, .. })
    ));
    let has = |name: &str, value: &str| sent.iter().any(|(n, v)| n == name && v == value);
    assert!(
        has("if-match", "W/\"7\"")
            && has("idempotency-key", "\"t-1\"")
            && has("content-type", "application/json")
    );
    let whole = task(
        "request.run",
        json!({"request": "pump"}),
        pump("once", more),
    );
    let (end, said, _) = walk(&whole, &fresh(), |_| reply(200, &[], "{}"));
    assert_eq!((code(&end), said.len()), (FailureCode::Refused, 1));
}

#[test]
fn a_token_travels_only_with_what_it_is_for() {
    let config = json!({
        "auth": {"type": "oauth", "tokenUrl": "https://idp.example/token", "audience": "plant", "tls": {"system": true}},
        "sources": power()["sources"],
    });
    let memory = fresh();
    let mut tokens = 0;
    let mut play = |request: &Request| {
        if request.url == "https://idp.example/token" {
            tokens += 1;
            assert_eq!(
                (request.method.as_str(), &request.trust),
                ("POST", &Trust::System)
            );
            let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
            assert_eq!(body, "grant_type=client_credentials&audience=plant");
            return reply(200, &[], r#"{"access_token": "at-77", "expires_in": 60}"#);
        }
        assert_eq!(request.trust, Trust::Plain);
        let bearer = ("authorization".to_owned(), "Bearer at-77".to_owned());
        assert!(request.headers.contains(&bearer));
        // It repeats what it was told, as debugging servers do.
        reply(200, &[], r#"{"w": 5, "you": "Bearer at-77"}"#)
    };
    let mut config = config;
    config["sources"][0]["facts"] = json!({"you": "/you"});
    for _ in 0..2 {
        let (end, _, _) = walk(
            &task("observe", json!({}), config.clone()),
            &memory,
            &mut play,
        );
        assert_eq!(end.readings[0].value, 5.0);
        assert_eq!(end.facts["you"], "Bearer [secret]");
    }
    assert_eq!(tokens, 1, "the second task uses the first one's");
}

#[test]
fn a_cancelled_task_ends_where_that_is_safe() {
    let whole = task(
        "request.run",
        json!({"request": "pump"}),
        pump("once", equals()),
    );
    let mut driver = Driver::new(Task::from_frame(&whole.to_string()).unwrap(), fresh(), NOW);
    assert!(matches!(driver.next(NOW), Step::Fetch(_)));
    driver.feed(reply(200, &[], r#"{"on": false}"#));
    driver.cancel();
    assert!(matches!(driver.next(NOW), Step::Checkpoint(_)));
    let Step::End(end) = driver.next(NOW) else {
        panic!("nothing is sent any more")
    };
    assert!(matches!(end.outcome, Outcome::Cancelled { .. }));
    // A host that forgets to feed does not hang the task.
    let mut driver = Driver::new(
        Task::from_frame(&task("observe", json!({}), power()).to_string()).unwrap(),
        fresh(),
        NOW,
    );
    assert!(matches!(driver.next(NOW), Step::Fetch(_)));
    let Step::End(end) = driver.next(NOW) else {
        panic!("it ends")
    };
    assert_eq!(code(&end), FailureCode::Unreachable);
}

#[test]
fn a_probe_says_no_only_by_a_look_that_worked() {
    let counter = json!({"readBack": {"path": "/pump", "pointer": "/boots", "changes": true, "settleMs": 5_000}});
    let mut whole = task(
        "request.change.probe",
        json!({"request": "pump"}),
        pump("probe", counter),
    );
    whole["probe"] = json!({"since": "2027-01-15T08:00:00.000Z", "checkpoint": {"request": "pump", "before": 7}});
    let boots = |n: u64| reply(200, &[], &json!({"boots": n}).to_string());
    type Play<'a> = &'a dyn Fn(usize) -> Result<Response, Trouble>;
    let table: [(Play, Value); 4] = [
        (&|_| boots(7), json!(false)),
        (&|looks| boots(if looks > 3 { 8 } else { 7 }), json!(true)),
        (
            &|looks| {
                if looks > 3 {
                    Err(Trouble::unreachable("x"))
                } else {
                    boots(7)
                }
            },
            Value::Null,
        ),
        (&|_| Err(Trouble::unreachable("x")), Value::Null),
    ];
    for (play, want) in table {
        let mut looks = 0;
        let (end, _, took) = walk(&whole, &fresh(), |_| {
            looks += 1;
            play(looks)
        });
        let Outcome::Done(done) = end.outcome else {
            panic!("{:?}", end.outcome)
        };
        assert_eq!(done.result.expect("an answer")["happened"], want);
        assert!(want == true || took >= 5_000, "{took}");
    }
}

#[test]
fn an_observation_fits_into_a_line() {
    let label = "\u{1}".repeat(256);
    let names: Vec<Value> = (0..1_500).map(|n| json!({"w": n, "name": label})).collect();
    let config = json!({"sources": [{"path": "/a", "readings": [
        {"name": "power_watts", "pointer": "/*/w", "labels": {"name": "/*/name"}},
    ]}]});
    let body = Value::Array(names).to_string();
    let (end, _, _) = walk(&task("observe", json!({}), config), &fresh(), |_| {
        reply(200, &[], &body)
    });
    let bytes = serde_json::to_vec(&end.readings).expect("JSON").len();
    assert!((500_000..900_000).contains(&bytes), "{bytes}");
    let Outcome::Done(done) = end.outcome else {
        panic!("{:?}", end.outcome)
    };
    assert!(
        done.result.expect("says so")["missing"]
            .to_string()
            .contains("more than an observation holds")
    );
}
