//! Against OpenSSH's own sshd, which we did not write.

mod support;

use serde_json::json;
use std::time::Duration;
use support::{LONG, Sshd, message, result, word, worker};

#[test]
fn commands_end_with_their_exit_code_and_output() {
    let sshd = Sshd::start();
    let (target, key) = (sshd.target(), sshd.by_key());
    let mut worker = worker();
    // (command, status, exit code, stdout)
    let table = [
        ("true", "done", json!(0), ""),
        ("false", "refused", json!(1), ""),
        ("exit 7", "refused", json!(7), ""),
        (
            "echo 'it''s' \"$((1+1))\" \\\\",
            "done",
            json!(0),
            "its 2 \\\n",
        ),
        ("printf 'a\\nb'", "done", json!(0), "a\nb"),
        ("-not-an-option", "refused", json!(127), ""),
        ("cat", "done", json!(0), ""),
    ];
    for (command, status, code, stdout) in table {
        let ended = worker.call(&target, &key, "exec", json!({ "command": command }), LONG);
        assert_eq!(
            word(&ended.outcome),
            status,
            "{command}: {:?}",
            ended.outcome
        );
        let result = result(&ended.outcome);
        assert_eq!(
            (&result["exitCode"], &result["stdout"]),
            (&code, &json!(stdout)),
            "{command}"
        );
    }
    let ended = worker.call(
        &target,
        &key,
        "exec",
        json!({"command": "kill -9 $$"}),
        LONG,
    );
    assert_eq!(word(&ended.outcome), "refused");
    let code = &result(&ended.outcome);
    assert!(
        code["signal"] == "KILL" || code["exitCode"] == 137,
        "{code}"
    );
    worker.drain();
    let logins = sshd.log().matches("Accepted publickey").count();
    assert_eq!(logins, 1, "one login serves all");
    let _ = (message, Duration::ZERO);
}
