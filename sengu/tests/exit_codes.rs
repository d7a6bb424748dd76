//! Exit codes, and what is said on stdout and stderr, against a server that answers from a script.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests

mod common;

use common::{Server, text};

const WORKERS: &str = r#"{"items":[{"apiVersion":"sengu/v1","kind":"Worker","metadata":{"name":"redfish"},
    "spec":{"action":[{"name":"power.set","params":{"properties":{"state":{"type":"string"}}}}]}}],"revision":1}"#;
const RUN: &str = r#"{"metadata":{"name":"r-0000000000001"},"spec":{"action":"power.set"},
    "status":{"phase":"Running","targets":2,"counts":{"active":2}}}"#;
const OVER: &str = r#"{"metadata":{"name":"r-0000000000001"},"spec":{"action":"power.set"},
    "status":{"phase":"Failed","targets":2,"counts":{"done":1,"changed":1,"failed":1}}}"#;
const FAILURES: &str = r#"{"items":[{"target":"bmc-2","task":"t-0000000000002","state":"ended","status":"failed",
    "code":"refused","message":"evil \u001b[31mtext","changed":false,"attempt":1,"batch":1}],"revision":1}"#;
const REFUSED: &str = r#"{"type":"urn:sengu:problem:invalid_field","title":"invalid field","status":422,
    "code":"invalid_field","detail":"1 of 2 documents is wrong","hint":"mend it and apply again",
    "errors":[{"place":"a.yaml:7 document 2 spec.adress","code":"invalid_field","message":"unknown field"}]}"#;
const UNKNOWN_CALLER: &str = r#"{"type":"urn:sengu:problem:unauthenticated","title":"unauthenticated","status":401,
    "code":"unauthenticated","detail":"the token is not right"}"#;

#[test]
fn a_failed_target_is_exit_1_unless_asked_and_its_reason_is_printed_harmless() {
    let server = Server::start(&[
        ("GET /v1/records/Worker", 200, WORKERS),
        ("POST /v1/runs", 202, RUN),
        ("GET /v1/runs/r-0000000000001/targets", 200, FAILURES),
        ("GET /v1/runs/r-0000000000001", 200, OVER),
        ("GET /v1/tasks", 200, r#"{"items":[],"revision":1}"#),
    ]);
    let out = server.sengu(&[
        "run",
        "power.set",
        "state=off",
        "-l",
        "rack=r1",
        "--batch",
        "10%",
    ]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let stdout = text(&out.stdout);
    assert!(
        stdout.contains("bmc-2") && stdout.contains("refused"),
        "{stdout}"
    );
    assert!(
        stdout.contains("evil \\u{1b}[31mtext") && !stdout.contains('\x1b'),
        "{stdout}"
    );
    assert!(
        text(&out.stderr).contains("sengu retry r-0000000000001"),
        "{}",
        text(&out.stderr)
    );
    let posted = server
        .seen()
        .into_iter()
        .find(|r| r.starts_with("POST"))
        .unwrap();
    assert!(
        posted
            .to_lowercase()
            .contains("authorization: bearer secret-token"),
        "{posted}"
    );
    assert!(
        posted.to_lowercase().contains("idempotency-key: "),
        "{posted}"
    );
    assert!(
        posted.contains(r#""batch":"10%""#) && posted.contains(r#""state":"off""#),
        "{posted}"
    );

    let asked = [
        "run",
        "power.set",
        "state=off",
        "bmc-1",
        "bmc-2",
        "--exit-zero",
        "-o",
        "name",
    ];
    let out = server.sengu(&asked);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "run/r-0000000000001\n");
}

#[test]
fn not_waiting_and_not_in_time_leave_the_run_going() {
    let server = Server::start(&[
        ("GET /v1/records/Worker", 200, WORKERS),
        ("POST /v1/runs", 202, RUN),
        ("GET /v1/runs/r-0000000000001", 200, RUN),
    ]);
    let out = server.sengu(&["run", "power.set", "--all", "--no-wait"]);
    assert_eq!(
        (out.status.code(), text(&out.stdout)),
        (Some(0), "run/r-0000000000001\n".into())
    );
    let out = server.sengu(&["run", "power.set", "--all", "--timeout", "100ms"]);
    assert_eq!(out.status.code(), Some(5));
    assert!(
        text(&out.stderr).contains("the run goes on"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn a_refusal_is_exit_3_with_place_and_hint() {
    let server = Server::start(&[("POST /v1/apply", 422, REFUSED)]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    std::fs::write(&file, "kind: Target\n").unwrap();
    let out = server.sengu(&["apply", "-f", &file.display().to_string()]);
    assert_eq!(out.status.code(), Some(3));
    assert_eq!(text(&out.stdout), "");
    let stderr = text(&out.stderr);
    for part in [
        "1 of 2 documents is wrong",
        "a.yaml:7 document 2 spec.adress",
        "mend it and apply again",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn differences_are_exit_1_and_none_exit_0() {
    const SAME: &str =
        r#"{"results":[{"kind":"Target","name":"a","change":"unchanged"}],"revision":5}"#;
    const OTHER: &str = r#"{"results":[{"kind":"Target","name":"a","change":"configured","place":"a.yaml:1",
        "before":{"spec":{"address":"h1"}},"after":{"spec":{"address":"h2"}}}],"revision":5}"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), "kind: Target\n").unwrap();
    let folder = dir.path().display().to_string();
    let server = Server::start(&[("POST /v1/apply", 200, SAME)]);
    assert_eq!(
        server.sengu(&["diff", "-f", &folder]).status.code(),
        Some(0)
    );
    let server = Server::start(&[("POST /v1/apply", 200, OTHER)]);
    let out = server.sengu(&["diff", "-f", &folder]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout).contains("-  address: h1\n+  address: h2\n"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn a_wrong_token_and_an_absent_server_are_exit_4() {
    let server = Server::start(&[("GET", 401, UNKNOWN_CALLER)]);
    assert_eq!(server.sengu(&["get", "targets"]).status.code(), Some(4));
    let out = Server::absent().sengu(&["get", "targets"]);
    assert_eq!(out.status.code(), Some(4));
    assert!(
        text(&out.stderr).contains("is `sengu up` running?"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn a_wrong_command_line_is_exit_2_and_sends_nothing() {
    let server = Server::start(&[("GET /v1/records/Worker", 200, WORKERS)]);
    let wrong: &[&[&str]] = &[
        &["get", "pods"],
        &["get", "targets", "-l", "a b"],
        &["run", "power.set", "state=off"],
        &["run", "power.set", "--all", "--batch", "101%"],
        &["apply", "-f", "/no/such/file"],
        &["delete", "target/a", "target/b"],
        &["frobnicate"],
    ];
    for arguments in wrong {
        let out = server.sengu(arguments);
        assert_eq!(
            out.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&out.stderr)
        );
        assert_eq!(text(&out.stdout), "", "{arguments:?}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[test]
fn lists_come_in_every_form() {
    const TARGETS: &str = r#"{"items":[{"apiVersion":"sengu/v1","kind":"Target","metadata":{"name":"a"},
        "spec":{"kind":"redfish","address":"https://h"},"status":{"facts":{"model":"M\u001b]0;x"}}}],"revision":5}"#;
    let server = Server::start(&[("GET /v1/records/Target?limit=", 200, TARGETS)]);
    let get = |format: &str| text(&server.sengu(&["get", "targets", "-o", format]).stdout);
    assert_eq!(get("name"), "target/a\n");
    let table = get("table");
    assert!(
        table.starts_with("NAME   KIND      STATUS   MODEL"),
        "{table}"
    );
    assert!(table.contains("M\\u{1b}]0;x"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&get("json")).unwrap();
    assert_eq!(json["items"][0]["metadata"]["name"], "a");
    assert!(get("yaml").contains("    name: a\n"), "{}", get("yaml"));
}
