//! Who logs in to whom, against OpenSSH: keys, passwords, pinned host keys and certificates.

mod support;

use serde_json::json;
use support::{LONG, Sshd, message, result, word, worker};

#[test]
fn logins_are_by_key_by_encrypted_key_and_by_password() {
    let sshd = Sshd::start();
    let target = sshd.target();
    let mut worker = worker();
    let mut login = |secrets: &support::Secrets| {
        worker
            .call(&target, secrets, "exec", json!({"command": "id -un"}), LONG)
            .outcome
    };
    let mut encrypted = sshd.by_key();
    encrypted.insert("privateKey".to_owned(), sshd.read("user_rsa"));
    assert!(message(&login(&encrypted)).contains("no passphrase"));
    encrypted.insert("passphrase".to_owned(), "wrong".to_owned());
    assert!(message(&login(&encrypted)).contains("passphrase is wrong"));
    encrypted.insert("passphrase".to_owned(), "sesame".to_owned());
    assert_eq!(
        result(&login(&encrypted))["stdout"],
        format!("{}\n", sshd.user)
    );

    let mut stranger = sshd.by_key();
    stranger.insert("privateKey".to_owned(), sshd.read("host_ecdsa"));
    assert_eq!(word(&login(&stranger)), "auth_failed");

    // Passwords can only be tried where the tests may make a user.
    if let Some(password) = &sshd.password {
        let good = sshd.by_password(password);
        assert_eq!(result(&login(&good))["stdout"], format!("{}\n", sshd.user));
        stranger.insert("password".to_owned(), password.clone());
        assert_eq!(
            word(&login(&stranger)),
            "done",
            "the password after a key that is not known"
        );
        let before = sshd.log().matches("Failed password").count();
        let refused = login(&sshd.by_password("wrong-horse"));
        assert_eq!(word(&refused), "auth_failed");
        assert!(!message(&refused).contains("wrong-horse"));
        assert_eq!(
            sshd.log().matches("Failed password").count(),
            before + 1,
            "tried once"
        );
        // A host that hangs up after the first wrong password has refused it all the same: it must not be offered
        // again as if the host had been out of reach.
        let strict = Sshd::start_with("MaxAuthTries 1");
        let ended = worker.call(
            &strict.target(),
            &strict.by_password("wrong-horse"),
            "exec",
            json!({"command": "true"}),
            LONG,
        );
        assert_eq!(word(&ended.outcome), "auth_failed", "{:?}", ended.outcome);
    }
}

#[test]
fn a_raw_shell_gets_the_command_as_it_is() {
    let sshd = Sshd::start();
    let target = sshd.target_named("raw", &sshd.host_key(), json!({"shell": "raw"}));
    let mut worker = worker();
    let mut exec = |params| {
        worker
            .call(&target, &sshd.by_key(), "exec", params, LONG)
            .outcome
    };
    assert_eq!(result(&exec(json!({"command": "echo $0"})))["exitCode"], 0);
    let refused = exec(json!({"command": "true", "creates": "/x"}));
    assert!(
        message(&refused).contains("need a POSIX shell"),
        "{refused:?}"
    );
}

#[test]
fn another_host_key_is_a_mismatch_and_no_login_is_tried() {
    let sshd = Sshd::start();
    let other = Sshd::start();
    let mut worker = worker();
    let wrong_key = other.host_key();
    let wrong_print = other.fingerprint("host_ed25519.pub");
    for pin in [&wrong_key, &wrong_print] {
        let target = sshd.target_named("h", pin, json!({}));
        let ended = worker.call(
            &target,
            &sshd.by_key(),
            "exec",
            json!({"command": "true"}),
            LONG,
        );
        assert_eq!(
            word(&ended.outcome),
            "identity_mismatch",
            "{:?}",
            ended.outcome
        );
        assert!(message(&ended.outcome).contains(&sshd.fingerprint("host_ed25519.pub")));
    }
    let log = sshd.log();
    assert!(
        !log.contains("Accepted") && !log.contains("Failed") && !log.contains("user"),
        "{log}"
    );

    // The host has two keys: either may be pinned, in either form.
    for key in ["host_ed25519.pub", "host_ecdsa.pub"] {
        for pin in [sshd.read(key).trim().to_owned(), sshd.fingerprint(key)] {
            let target = sshd.target_named(&format!("by-{pin}"), &pin, json!({}));
            let ended = worker.call(
                &target,
                &sshd.by_key(),
                "exec",
                json!({"command": "true"}),
                LONG,
            );
            assert_eq!(word(&ended.outcome), "done", "{pin}: {:?}", ended.outcome);
        }
    }
}

#[test]
fn a_certificate_of_a_pinned_authority_is_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca").display().to_string();
    let mut sshd = Sshd::start_with(&format!(
        "HostCertificate {}/host-cert.pub",
        dir.path().display()
    ));
    let keygen = |args: &[&str]| {
        let status = std::process::Command::new("ssh-keygen")
            .arg("-q")
            .args(args)
            .status();
        assert!(status.is_ok_and(|s| s.success()), "{args:?}");
    };
    keygen(&["-t", "ed25519", "-N", "", "-f", &ca]);
    let pin = |file: &str| {
        format!(
            "@cert-authority {}",
            std::fs::read_to_string(file).unwrap().trim()
        )
    };
    // (principals, valid from-to, authority pinned, status)
    let table = [
        (
            "127.0.0.1,other",
            "-1d:+1d",
            pin(&format!("{ca}.pub")),
            "done",
        ),
        ("node", "-1d:+1d", pin(&format!("{ca}.pub")), "done"),
        (
            "other",
            "-1d:+1d",
            pin(&format!("{ca}.pub")),
            "identity_mismatch",
        ),
        (
            "node",
            "-2d:-1d",
            pin(&format!("{ca}.pub")),
            "identity_mismatch",
        ),
        (
            "node",
            "-1d:+1d",
            pin(&sshd.path("user.pub").display().to_string()),
            "identity_mismatch",
        ),
    ];
    for (principals, valid, pin, status) in table {
        let public = dir.path().join("host.pub");
        std::fs::copy(sshd.path("host_ed25519.pub"), &public).unwrap();
        let public = public.display().to_string();
        keygen(&[
            "-s", &ca, "-I", "h", "-h", "-n", principals, "-V", valid, &public,
        ]);
        sshd.reload();
        let target = sshd.target_named("node", &pin, json!({}));
        let ended = worker().call(
            &target,
            &sshd.by_key(),
            "exec",
            json!({"command": "true"}),
            LONG,
        );
        assert_eq!(
            word(&ended.outcome),
            status,
            "{principals} {valid}: {:?}",
            ended.outcome
        );
    }
}
