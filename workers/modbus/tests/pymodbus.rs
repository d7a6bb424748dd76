//! The worker against pymodbus, a server that we did not write: its conversions, its refusals, its trace of writes.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, Server, code, none, set, set_within, target, worker};
use sengu_sdk::testing::{Ended, Instance};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn map() -> Value {
    json!({ "gap": 0, "points": [
        {"name": "i16", "table": "holding", "address": 0, "type": "i16", "reading": "i16"},
        {"name": "u16", "table": "holding", "address": 1, "type": "u16", "reading": "u16"},
        {"name": "i32", "table": "holding", "address": 2, "type": "i32", "reading": "i32"},
        {"name": "u32", "table": "holding", "address": 4, "type": "u32", "reading": "u32"},
        {"name": "i64", "table": "holding", "address": 6, "type": "i64", "reading": "i64"},
        {"name": "u64", "table": "holding", "address": 10, "type": "u64", "reading": "u64"},
        {"name": "f32", "table": "holding", "address": 14, "type": "f32", "reading": "f32"},
        {"name": "f64", "table": "holding", "address": 16, "type": "f64", "reading": "f64"},
        {"name": "text", "table": "holding", "address": 20, "type": "string", "length": 4, "fact": "name"},
        {"name": "i32le", "table": "holding", "address": 30, "type": "i32", "order": "cdab", "reading": "i32le"},
        {"name": "f32le", "table": "holding", "address": 32, "type": "f32", "order": "cdab", "reading": "f32le"},
        {"name": "f64le", "table": "holding", "address": 34, "type": "f64", "order": "cdab", "reading": "f64le"},
        {"name": "unit", "table": "input", "address": 0, "scale": 0.1, "reading": "unit"},
        {"name": "none", "table": "input", "address": 1, "missing": [0x8000], "reading": "none"},
        {"name": "last", "table": "input", "address": 324, "reading": "last"},
        {"name": "c0", "table": "coil", "address": 0, "reading": "c0", "set": {}},
        {"name": "c1", "table": "coil", "address": 1, "reading": "c1"},
        {"name": "c2", "table": "coil", "address": 2, "reading": "c2"},
        {"name": "d1", "table": "discrete", "address": 1, "reading": "d1"},
        {"name": "air", "table": "holding", "address": 100, "type": "i16", "scale": 0.1,
         "set": {"min": 16, "max": 30, "step": 0.5}},
        {"name": "limit", "table": "holding", "address": 110, "type": "f32",
         "set": {"min": 0, "max": 20_000}},
        {"name": "swapped", "table": "holding", "address": 32, "type": "f32", "order": "cdab",
         "set": {"min": 0, "max": 1_000}},
    ]})
}

fn device(address: &str, unit: u8) -> TargetFrame {
    let config = json!({"unit": unit, "map": map(), "requestTimeoutMs": 5_000, "reconnectMs": 50});
    target(&format!("py-{unit}"), address, config)
}

fn observe(worker: &mut Instance, target: &TargetFrame) -> Ended {
    common::observe(worker, target)
}

#[test]
fn every_type_is_read_as_pymodbus_wrote_it() {
    let server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    let ended = observe(&mut worker, &device(&server.address, 1));
    assert_eq!(
        ended.outcome,
        Outcome::Done(Default::default()),
        "{ended:?}"
    );
    let table = [
        ("i16", Some(-1_234.0)),
        ("u16", Some(65_000.0)),
        ("i32", Some(-123_456_789.0)),
        ("u32", Some(4_000_000_000.0)),
        ("i64", Some(-1_234_567_890_123_456.0)),
        ("u64", Some(18_000_000_000_000_000_000.0)),
        ("f32", Some(230.4)),
        ("f64", Some(-0.001_953_125)),
        ("i32le", Some(-123_456_789.0)),
        ("f32le", Some(230.4)),
        ("f64le", Some(-0.001_953_125)),
        ("unit", Some(1.0)),
        ("none", None),
        ("last", Some(124.0)),
        ("c0", Some(1.0)),
        ("c1", Some(0.0)),
        ("c2", Some(1.0)),
        ("d1", Some(1.0)),
    ];
    for (name, value) in table {
        assert_eq!(ended.reading(name), value, "{name}");
    }
    assert_eq!(ended.facts["name"], "CRAC-07");
    let facts = ["vendor", "model", "firmware"];
    assert_eq!(
        facts.map(|name| ended.facts[name].as_str().unwrap()),
        ["Pymodbus", "Sim 1", "3.16"]
    );
    // The other unit of the same gateway, and one that is not there.
    let ended = observe(&mut worker, &device(&server.address, 2));
    assert_eq!(ended.reading("unit"), Some(2.0));
    let ended = observe(&mut worker, &device(&server.address, 9));
    assert!(code(&ended).is_some(), "{ended:?}");
    assert_eq!(server.wait_for("connect", 1).len(), 1);
    assert!(
        server.said().iter().all(|line| line != "connect"),
        "one connection"
    );
}

#[test]
fn every_kind_of_write_arrives_once_as_meant() {
    let server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    let unit = device(&server.address, 1);
    let table = [
        ("air", json!(21), json!(23.5), "write 1 6 100 235"),
        (
            "limit",
            json!(12_000),
            json!(9_500.5),
            "write 1 16 110 17940 29184",
        ),
        // 49.5 = 0x42460000, low word first.
        (
            "swapped",
            json!(230.4),
            json!(49.5),
            "write 1 16 32 0 16966",
        ),
        ("c0", json!(true), json!(false), "write 1 5 0 0"),
    ];
    for (point, before, after, write) in table {
        let ended = set(&mut worker, &unit, point, after.clone());
        assert_eq!(
            ended.outcome,
            Outcome::changed(before, after.clone()),
            "{ended:?}"
        );
        assert_eq!(server.wait_for("write", 1), [write]);
        let ended = set(&mut worker, &unit, point, after.clone());
        assert_eq!(ended.outcome, Outcome::already(after));
    }
    let ended = set(&mut worker, &unit, "air", json!(40));
    assert_eq!(code(&ended), Some(FailureCode::Refused));
    assert!(!server.said().iter().any(|line| line.starts_with("write")));
}

#[test]
fn what_pymodbus_does_not_have_is_left_out_and_named() {
    let server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    let mut unit = device(&server.address, 1);
    // A hole between 35 and 100 that must not be bridged, and a point in it.
    unit.config["gap"] = json!(125);
    unit.config["map"]["points"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "hole", "table": "holding", "address": 60, "reading": "hole"}));
    for _ in 0..2 {
        let ended = observe(&mut worker, &unit);
        let Outcome::Done(done) = &ended.outcome else {
            panic!("{ended:?}")
        };
        let incomplete = &done.result.as_ref().unwrap()["incomplete"];
        assert_eq!(incomplete[0]["points"], json!(["hole"]), "{incomplete}");
        assert_eq!(ended.reading("f64le"), Some(-0.001_953_125));
        assert_eq!(ended.reading("last"), Some(124.0));
    }
    let params = json!({"points": ["hole"]});
    let ended = worker.call(&unit, &none(), "point.read", params, LONG);
    assert!(matches!(ended.outcome, Outcome::Failed(_)), "{ended:?}");
}

/// Passes requests on, and loses what comes back to those that write.
struct Lossy {
    address: String,
    /// Write frames that came by, whichever connection they took.
    writes: Arc<AtomicU32>,
}

/// What becomes of a write at the proxy.
#[derive(Clone, Copy, PartialEq)]
enum Lose {
    Answer,
    AnswerAndConnection,
    Request,
}

impl Lossy {
    fn start(upstream: &str, lose: Lose) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let writes = Arc::new(AtomicU32::new(0));
        let (upstream, seen) = (upstream.to_owned(), writes.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&upstream).unwrap();
                let seen = seen.clone();
                std::thread::spawn(move || pass(near, far, lose, &seen));
            }
        });
        Lossy { address, writes }
    }
}

/// One request and its answer after the other; frames are small, and come whole over loopback.
fn pass(mut near: TcpStream, mut far: TcpStream, lose: Lose, writes: &AtomicU32) -> Option<()> {
    let mut buffer = [0; 600];
    loop {
        let length = near.read(&mut buffer).ok().filter(|n| *n > 7)?;
        let is_write = matches!(buffer[7], 5 | 6 | 15 | 16);
        if is_write {
            writes.fetch_add(1, Ordering::SeqCst);
            if lose == Lose::Request {
                continue;
            }
        }
        far.write_all(&buffer[..length]).ok()?;
        let length = far.read(&mut buffer).ok().filter(|n| *n > 0)?;
        match lose {
            _ if !is_write => near.write_all(&buffer[..length]).ok()?,
            Lose::AnswerAndConnection => near.shutdown(Shutdown::Both).ok()?,
            _ => {}
        }
    }
}

#[test]
fn a_proxy_that_loses_the_answers_of_writes_sees_each_write_once() {
    let server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    for (lose, from) in [(Lose::Answer, 21), (Lose::AnswerAndConnection, 24)] {
        let proxy = Lossy::start(&server.address, lose);
        let mut unit = device(&proxy.address, 1);
        unit.config["requestTimeoutMs"] = json!(1_500);
        unit.config["retries"] = json!(5);
        for to in from + 1..=from + 3 {
            let ended = set(&mut worker, &unit, "air", json!(to));
            let expected = Outcome::changed(json!(to - 1), json!(to));
            assert_eq!(ended.outcome, expected, "{ended:?}");
            let written = server.wait_for("write", 1);
            assert_eq!(written, [format!("write 1 6 100 {}", to * 10)]);
        }
        assert_eq!(proxy.writes.load(Ordering::SeqCst), 3, "each write once");
    }
    assert!(!server.said().iter().any(|line| line.starts_with("write")));
}

#[test]
fn a_proxy_that_loses_writes_sees_them_once_and_the_outcome_is_unknown() {
    let server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    let proxy = Lossy::start(&server.address, Lose::Request);
    let mut unit = device(&proxy.address, 1);
    unit.config["requestTimeoutMs"] = json!(1_500);
    unit.config["retries"] = json!(5);
    let limit = Duration::from_secs(6);
    let ended = set_within(&mut worker, &unit, "air", json!(25), limit);
    assert!(
        matches!(ended.outcome, Outcome::Unknown { .. }),
        "{ended:?}"
    );
    assert_eq!(proxy.writes.load(Ordering::SeqCst), 1, "written once");
}

#[test]
fn a_server_that_restarts_is_found_again_without_a_failure() {
    let mut server = Server::start("pymodbus_server.py");
    let mut worker = worker();
    let unit = device(&server.address, 1);
    for _ in 0..3 {
        let ended = observe(&mut worker, &unit);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
        server.restart();
    }
}
