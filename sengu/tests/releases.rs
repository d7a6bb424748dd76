//! Pushing, promoting, draining and upgrading against a server that answers from a script.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests

mod common;

use common::{Script, Server, text};

const RELEASE: &str = r#"{"kind":"Release","metadata":{"name":"pdu","revision":41},"spec":{"version":"1.4.0"},"status":{}}"#;
/// Only its numbers have changed.
const COUNTED: &str = r#"{"kind":"Release","metadata":{"name":"pdu","revision":42},"spec":{"version":"1.4.0"},"status":{"rules":[]}}"#;
const MOVED: &str = r#"{"kind":"Release","metadata":{"name":"pdu","revision":43},"spec":{"version":"1.3.0"},"status":{
    "history":[{"at":"2026-11-20T13:42:48Z","what":"rolled-back","version":"1.3.0","message":"all go to 1.3.0, on request"}]}}"#;
const PROMOTED: &str = r#"{"kind":"Release","metadata":{"name":"pdu","revision":44},"spec":{"version":"1.4.0","rules":[
    {"name":"to-1.5.0","version":"1.5.0","share":"10%","steps":["100%"],"guard":{}}]},"status":{"rules":[
    {"name":"to-1.5.0","version":"1.5.0","replaces":"1.4.0","phase":"Rolling","waitsFor":"0 of 50 tasks"}],"history":[
    {"at":"2026-11-20T13:42:48Z","what":"promoted","version":"1.5.0","message":"gets 10% of all"}]}}"#;
const CONFLICT: &str = r#"{"type":"urn:sengu:problem:conflict","title":"conflict","status":409,"code":"conflict",
    "detail":"Release/pdu is at revision 43","hint":"read it again and repeat your change"}"#;
/// A record that changed, as the watch tells it.
macro_rules! put {
    ($revision:literal, $record:literal) => {
        concat!("event: put\nid: ", $revision, "\ndata: ", $record, "\n\n")
    };
}
const SETTLED: &str = put!(
    "50",
    r#"{"kind":"Release","metadata":{"name":"pdu","revision":50},"spec":{"version":"1.5.0"},"status":{"history":[{"at":"2026-11-20T13:42:48Z","what":"promoted","version":"1.5.0","message":"gets 10% of all"},{"at":"2026-11-20T13:43:00Z","what":"settled","version":"1.5.0","message":"all run 1.5.0"}]}}"#
);
const WENT_BACK: &str = put!(
    "50",
    r#"{"kind":"Release","metadata":{"name":"pdu","revision":50},"spec":{"version":"1.4.0"},"status":{"history":[{"at":"2026-11-20T13:42:48Z","what":"promoted","version":"1.5.0","message":"gets 10% of all"},{"at":"2026-11-20T13:43:00Z","what":"rolled-back","version":"1.5.0","message":"all goes back to 1.4.0: 3 of 3 tasks failed\u001b[31m"}]}}"#
);

#[test]
fn numbers_that_move_are_no_conflict_but_another_move_is() {
    let server = Server::start(&[
        ("GET /v1/records/Release/pdu", 200, RELEASE),
        ("GET /v1/records/Release/pdu", 200, COUNTED),
        ("POST /v1/releases/pdu/promote", 409, CONFLICT),
        ("POST /v1/releases/pdu/promote", 200, PROMOTED),
    ]);
    let asked = [
        "promote",
        "pdu@1.5.0",
        "--steps",
        "10%,100%",
        "--window",
        "20",
    ];
    let out = server.sengu(&asked);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(
        text(&out.stdout),
        "release/pdu: 1.5.0 gets 10% of all (guarded, then 100%; rest 1.4.0)\n"
    );
    let sent = server.bodies("POST");
    assert!(sent[0].contains(r#""revision":41"#), "{sent:?}");
    assert!(sent[1].contains(r#""revision":42"#), "{sent:?}");

    let server = Server::start(&[
        ("GET /v1/records/Release/pdu", 200, RELEASE),
        ("GET /v1/records/Release/pdu", 200, MOVED),
        ("POST /v1/releases/pdu/", 409, CONFLICT),
    ]);
    for asked in [vec!["promote", "pdu@1.5.0"], vec!["rollback", "pdu"]] {
        let out = server.sengu(&asked);
        assert_eq!(out.status.code(), Some(3), "{asked:?}");
    }
    let server = Server::start(&[
        ("GET /v1/records/Release/pdu", 200, RELEASE),
        ("GET /v1/records/Release/pdu", 200, MOVED),
        ("POST /v1/releases/pdu/", 409, CONFLICT),
    ]);
    let told = text(&server.sengu(&["rollback", "pdu"]).stderr);
    assert!(
        told.contains("moved meanwhile") && told.contains("all go to 1.3.0, on request"),
        "{told}"
    );
    assert_eq!(server.bodies("POST").len(), 1);
}

#[test]
fn waiting_for_a_rollout_ends_as_it_ends() {
    let table: [(Script, i32, &str); 3] = [
        (
            &[
                ("GET /v1/records/Release/pdu", 200, RELEASE),
                ("POST /v1/releases/pdu/promote", 200, PROMOTED),
                ("GET /v1/watch?kinds=Release&from=44", 200, SETTLED),
            ],
            0,
            "pdu@1.5.0 has settled",
        ),
        (
            &[
                ("GET /v1/records/Release/pdu", 200, RELEASE),
                ("POST /v1/releases/pdu/promote", 200, PROMOTED),
                ("GET /v1/watch?kinds=Release&from=44", 200, WENT_BACK),
            ],
            1,
            "3 of 3 tasks failed\\u{1b}[31m",
        ),
        (
            &[
                ("GET /v1/records/Release/pdu", 200, RELEASE),
                ("POST /v1/releases/pdu/promote", 200, PROMOTED),
                ("GET /v1/watch", 200, ""),
            ],
            5,
            "the rollout goes on",
        ),
    ];
    for (script, code, told) in table {
        let server = Server::start(script);
        let asked = ["promote", "pdu@1.5.0", "--wait", "--timeout", "300ms"];
        // Those that end need no limit, and must not be cut short on a busy machine.
        let asked = if code == 5 { &asked[..] } else { &asked[..3] };
        let out = server.sengu(asked);
        assert_eq!(out.status.code(), Some(code), "{}", text(&out.stderr));
        assert!(text(&out.stderr).contains(told), "{}", text(&out.stderr));
        assert!(!text(&out.stderr).contains('\x1b'));
    }
}

#[test]
fn an_image_is_streamed_once_it_is_known_to_be_new() {
    const TOML: &str =
        "name = \"pdu\"\nversion = \"1.5.0\"\nprotocol = 1\nslots = 1\ncommand = [\"w\"]\n";
    const PUSHED: &str = r#"{"name":"pdu@1.5.0","kind":"pdu","version":"1.5.0","digest":"d","bytes":1,"created":true,"first":false}"#;
    const NOT_FOUND: &str =
        r#"{"type":"x","title":"x","status":404,"code":"not_found","detail":"there is no Worker"}"#;
    const OTHER: &str =
        r#"{"kind":"Worker","metadata":{"name":"pdu@1.5.0"},"status":{"digest":"sha256:00"}}"#;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("pdu");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("worker.toml"), TOML).unwrap();
    std::fs::write(folder.join("big"), vec![b'x'; 3 << 20]).unwrap();
    let path = folder.display().to_string();

    let server = Server::start(&[
        ("GET /v1/records/Worker/pdu%401.5.0", 404, NOT_FOUND),
        ("POST /v1/workers?digest=sha256%3A", 201, PUSHED),
    ]);
    let out = server.sengu(&["worker", "push", &path]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "worker/pdu@1.5.0 pushed\n");
    let next = "promote it: sengu promote pdu@1.5.0 --share 10%";
    assert!(text(&out.stderr).contains(next), "{}", text(&out.stderr));
    let sent = server.bodies("POST");
    assert!(
        sent[0].len() > 3 << 20 && sent[0].contains(TOML),
        "{}",
        sent[0].len()
    );

    // The same version with other bytes does not travel.
    let server = Server::start(&[("GET /v1/records/Worker/pdu%401.5.0", 200, OTHER)]);
    let out = server.sengu(&["worker", "push", &path]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("version_exists"));
    assert_eq!(server.bodies("POST").len(), 0);

    // What cannot be run is told here.
    std::fs::write(
        folder.join("worker.toml"),
        TOML.replace("\"w\"", "\"bin/w\""),
    )
    .unwrap();
    let out = server.sengu(&["worker", "push", &path]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("there is no program \"bin/w\""));
    assert_eq!(server.seen().len(), 1);
}

const BUSY: &str = r#"{"wees":[{"name":"edge","life":1,"spec":{"cordoned":true,"drained":true},"sengu_version":"0.1.0",
    "pools":[{"kind":"pdu","version":"1","instances":2,"slots_busy":3}]},{"name":"local","embedded":true,"life":9,"pools":[]}]}"#;
const IDLE: &str = r#"{"wees":[{"name":"edge","life":1,"spec":{"cordoned":true,"drained":true},"sengu_version":"0.1.0",
    "pools":[{"kind":"pdu","version":"1","instances":0,"slots_busy":0}]}]}"#;
const NEW_LIFE: &str = r#"{"wees":[{"name":"edge","life":2,"spec":{"cordoned":true,"drained":true},"sengu_version":"0.2.0",
    "pools":[{"kind":"pdu","version":"1","instances":0}]}]}"#;
const EDGE: &str =
    r#"{"kind":"Wee","metadata":{"name":"edge"},"spec":{"cordoned":true,"drained":true}}"#;

#[test]
fn draining_waits_until_no_instance_is_left() {
    let server = Server::start(&[
        ("POST /v1/wees/edge/drain", 200, EDGE),
        ("GET /v1/top", 200, BUSY),
        ("GET /v1/top", 200, IDLE),
    ]);
    let out = server.sengu(&["drain", "wee/edge", "--wait"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "wee/edge drained\n");
    assert!(text(&out.stderr).contains("2 instances, 3 tasks in hand"));

    let server = Server::start(&[
        ("POST /v1/wees/edge/drain", 200, EDGE),
        ("GET /v1/top", 200, BUSY),
    ]);
    let out = server.sengu(&["drain", "edge", "--wait", "--timeout", "100ms"]);
    assert_eq!(out.status.code(), Some(5), "{}", text(&out.stderr));
}

#[test]
fn upgrading_stops_at_the_first_that_does_not_come_back() {
    let server = Server::start(&[
        ("POST /v1/wees/edge/upgrade", 202, EDGE),
        ("GET /v1/top", 200, BUSY),
        ("GET /v1/top", 200, BUSY),
        ("GET /v1/top", 200, r#"{"wees":[]}"#),
        ("GET /v1/top", 200, NEW_LIFE),
    ]);
    let out = server.sengu(&["wee", "upgrade", "edge"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let done = text(&out.stdout);
    assert!(
        done.starts_with("wee/edge upgraded from 0.1.0 to 0.2.0 in"),
        "{done}"
    );

    let server = Server::start(&[
        ("POST /v1/wees/edge/upgrade", 202, EDGE),
        ("GET /v1/top", 200, BUSY),
    ]);
    let out = server.sengu(&["wee", "upgrade", "--all", "--timeout", "100ms"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let told = text(&out.stderr);
    assert!(
        told.contains("wee/edge did not come back within 100ms: it has not begun a new life yet")
            && told.contains("1 other left alone"),
        "{told}"
    );
    let out = server.sengu(&["wee", "upgrade", "local"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("wee/local skipped"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn a_wrong_command_line_is_exit_2_and_sends_nothing() {
    let server = Server::start(&[]);
    let wrong: &[&[&str]] = &[
        &["promote", "pdu"],
        &["promote", "pdu@1.5.0", "--share", "20"],
        &["promote", "pdu@1.5.0", "--steps", "10%,5%"],
        &["promote", "pdu@1.5.0", "--where", "a b"],
        &["promote", "pdu@1.5.0", "--shadow", "--auto"],
        &["rollback", "pdu@1.5.0"],
        &["cordon", "target/a"],
        &["drain", "edge", "--timeout", "5s"],
        &["wee", "upgrade"],
        &["uncordon", "run/a"],
        &["worker", "push", "/no/such/folder"],
        &["explain", "target", "a"],
    ];
    for arguments in wrong {
        let out = server.sengu(arguments);
        let told = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {told}");
        assert_eq!(text(&out.stdout), "", "{arguments:?}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}
