//! Servers that no BMC should be, and some are: answers byte by byte as written here, over plain HTTP.

mod support;

use sengu_sdk::testing::Ended;
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Secrets, changed, code, message, power, worker};

type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// Answers every request line (`GET /x`) with the bytes that the script gives; no bytes = close.
struct Odd {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Odd {
    fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Odd {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Script, _) = (Arc::new(script), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (script.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &script, &log));
            }
        });
        Odd { port, seen }
    }

    fn call(&self, action: &str, params: Value, within: Duration) -> Ended {
        let target = TargetFrame {
            name: "odd".to_owned(),
            address: format!("http://127.0.0.1:{}", self.port),
            config: json!({"tls": {"plain": true}}),
            identity: Default::default(),
        };
        let mut worker = worker();
        let ended = worker.call(&target, &Secrets::new(), action, params, within);
        worker.drain();
        ended
    }

    fn count(&self, line: &str) -> usize {
        let seen = self.seen.lock().expect("not poisoned");
        seen.iter().filter(|s| s.starts_with(line)).count()
    }
}

fn serve(stream: TcpStream, script: &Script, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if request.is_empty() {
                request = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
            }
            if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        log.lock().expect("not poisoned").push(request.clone());
        let answer = script(&request);
        if answer.is_empty() || reader.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn json_answer(body: Value) -> Vec<u8> {
    http("200 OK", "", &body.to_string())
}

/// A small BMC that works, with `/s` as its only system.
fn plain_bmc(request: &str) -> Vec<u8> {
    match request {
        "GET /redfish/v1/" => json_answer(json!({"Systems": {"@odata.id": "/all"}})),
        "GET /all" => json_answer(json!({"Members": [{"@odata.id": "/s"}]})),
        "GET /s" => json_answer(json!({
            "PowerState": "On",
            "Actions": {"#ComputerSystem.Reset": {
                "target": "/reset",
                "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"],
            }},
        })),
        _ => http("404 Not Found", "", ""),
    }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn answers_that_are_none_have_their_codes() {
    let root = "GET /redfish/v1/";
    let huge = {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_vec();
        answer.resize(9_000_000, b' ');
        answer
    };
    let table: Vec<(&str, Vec<u8>, FailureCode)> = vec![
        (
            "no HTTP",
            b"\x00\x01\x02garbage\r\n\r\n".to_vec(),
            FailureCode::BadReply,
        ),
        (
            "SSH",
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            FailureCode::BadReply,
        ),
        ("HTML", http("200 OK", "", "<html>"), FailureCode::BadReply),
        ("an array", http("200 OK", "", "[1]"), FailureCode::BadReply),
        ("nothing", http("200 OK", "", ""), FailureCode::BadReply),
        (
            "half JSON",
            http("200 OK", "", "{\"Systems\":"),
            FailureCode::BadReply,
        ),
        ("no link", http("200 OK", "", "{}"), FailureCode::BadReply),
        ("too much", huge, FailureCode::BadReply),
        (
            "another origin",
            http("302 Found", "Location: http://192.0.2.1/x\r\n", ""),
            FailureCode::BadReply,
        ),
        (
            "a loop",
            http("301 Moved", "Location: /redfish/v1/\r\n", ""),
            FailureCode::BadReply,
        ),
        (
            "deep JSON",
            http("200 OK", "", &"[".repeat(100_000)),
            FailureCode::BadReply,
        ),
        ("closed", Vec::new(), FailureCode::Unreachable),
        (
            "a cut body",
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{".to_vec(),
            FailureCode::Timeout,
        ),
        (
            "an internal error",
            http("500 Oops", "", "<html>"),
            FailureCode::Busy,
        ),
        (
            "busy until a date",
            http(
                "503 Busy",
                "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
                "",
            ),
            FailureCode::Busy,
        ),
    ];
    for (what, answer, want) in table {
        let odd = Odd::start(move |request| match request == root {
            true => answer.clone(),
            false => http("404 Not Found", "", ""),
        });
        let within = if want == FailureCode::Timeout {
            Duration::from_secs(2)
        } else {
            SOON
        };
        let ended = odd.call("observe", power(), within);
        assert_eq!(code(&ended), want, "{what}: {ended:?}");
    }
}

#[test]
fn redirects_on_the_same_origin_are_followed() {
    let odd = Odd::start(|request| match request {
        "GET /redfish/v1/" => http("308 Permanent Redirect", "Location: /root\r\n", ""),
        "GET /root" => plain_bmc("GET /redfish/v1/"),
        "GET /all" => http("301 Moved", "Location: /all/\r\n", ""),
        "GET /all/" => plain_bmc("GET /all"),
        other => plain_bmc(other),
    });
    assert_eq!(
        odd.call("observe", power(), SOON).reading("power_on"),
        Some(1.0)
    );
}

#[test]
fn a_change_is_never_redirected_or_repeated() {
    // (what, answer to the reset, code or none for unknown)
    let table: Vec<(&str, Vec<u8>, Option<FailureCode>)> = vec![
        ("closed", Vec::new(), None),
        ("half an answer", b"HTTP/1.1 20".to_vec(), None),
        ("no HTTP", b"\x00\x01garbage\r\n\r\n".to_vec(), None),
        ("internal error", http("500 Oops", "", ""), None),
        ("gateway timeout", http("504 Late", "", ""), None),
        (
            "redirect",
            http("307 There", "Location: /other\r\n", ""),
            Some(FailureCode::BadReply),
        ),
        (
            "busy",
            http("503 Busy", "Retry-After: 3\r\n", ""),
            Some(FailureCode::Busy),
        ),
        (
            "conflict",
            http("409 Conflict", "", ""),
            Some(FailureCode::Refused),
        ),
    ];
    for (what, answer, want) in table {
        let odd = Odd::start(move |request| match request {
            "POST /reset" => answer.clone(),
            other => plain_bmc(other),
        });
        let ended = odd.call("power.cycle", json!({}), Duration::from_secs(4));
        match want {
            Some(want) => assert_eq!(code(&ended), want, "{what}"),
            None => assert!(
                matches!(ended.outcome, Outcome::Unknown { .. }),
                "{what}: {ended:?}"
            ),
        }
        assert_eq!(odd.count("POST"), 1, "{what}");
    }
}

#[test]
fn only_listed_reset_types_are_sent() {
    let odd = Odd::start(plain_bmc);
    // It lists no GracefulShutdown.
    let off = odd.call("power.set", json!({"state": "off"}), SOON);
    assert_eq!(code(&off), FailureCode::Refused);
    assert!(message(&off).contains("ForceOff"), "{off:?}");
    let graceful = odd.call("power.cycle", json!({"mode": "graceful"}), SOON);
    assert_eq!(code(&graceful), FailureCode::Refused);
    assert_eq!(odd.count("POST"), 0);
}

#[test]
fn a_failed_task_of_the_bmc_is_a_refusal() {
    let odd = Odd::start(|request| match request {
        "POST /reset" => http("202 Accepted", "Location: /task\r\nRetry-After: 0\r\n", ""),
        "GET /task" => json_answer(json!({
            "TaskState": "Exception", "Messages": [{"Message": "The interlock is open."}],
        })),
        other => plain_bmc(other),
    });
    let ended = odd.call("power.set", json!({"state": "forceOff"}), SOON);
    assert_eq!(code(&ended), FailureCode::Refused);
    assert!(message(&ended).contains("interlock"), "{ended:?}");
}

#[test]
fn what_is_already_so_is_not_asked_for() {
    let odd = Odd::start(plain_bmc);
    assert!(!changed(&odd.call(
        "power.set",
        json!({"state": "on"}),
        SOON
    )));
    assert_eq!(odd.count("POST"), 0);
}
