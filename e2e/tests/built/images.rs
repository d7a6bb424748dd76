//! What is pushed: kept whole or not at all, and a version never changes.

use crate::disk_full::Disk;
use sengu_e2e::release::version_of;
use sengu_e2e::{Image, Instance, fleet, json, s, until};
use std::fs;

fn blobs(sengu: &Instance) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![sengu.data.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_version_is_pushed_once_and_what_is_wrong_is_refused_with_the_reason_and_leaves_nothing() {
    let sengu = Instance::start();
    let place = sengu.beside("");
    sengu.api.yaml(&fleet::echo(2)).expect(200);
    let image = Image::script(&place, "toy", "1.0.0", "good");
    let pushed = sengu.push(&image);
    let folder = image.folder.display().to_string();
    let kept = blobs(&sengu);
    assert_eq!(kept.len(), 1, "{kept:?}");

    // Again: it is there already.
    let again = sengu.cli(&["worker", "push", &folder]).expect(0);
    assert_eq!(again.stdout, "worker/toy@1.0.0 unchanged\n");
    // The same version with other bytes.
    fs::write(image.folder.join("more"), "x").unwrap();
    let other = sengu.cli(&["worker", "push", &folder]);
    assert_ne!(other.code, 0);
    for word in ["version_exists", "toy@1.0.0", "new number"] {
        assert!(other.stderr.contains(word), "{word}: {other:?}");
    }
    // A manifest that cannot be used, seen here and by the server.
    let wrong = Image::script(&place, "toy", "1.1.0", "good");
    let path = wrong.folder.join("worker.toml");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to, word) in [
        ("protocol = 1", "protocol = 77", "protocol"),
        ("slots = 16", "slots = 0", "slots"),
        ("effect = \"read\"", "effect = \"perhaps\"", "perhaps"),
        ("version = \"1.1.0\"", "version = \"new\"", "version"),
    ] {
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let ran = sengu.cli(&["worker", "push", &wrong.folder.display().to_string()]);
        assert_ne!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains(word), "{word}: {ran:?}");
    }

    // By the API itself: what arrives is not what was announced, is cut, is no image, is too much.
    let tar = fs::read(&kept[0]).unwrap();
    let digest = pushed["digest"].as_str().unwrap_or_else(|| {
        let first = pushed.as_array().unwrap_or_else(|| panic!("{pushed}"));
        first[0]["digest"].as_str().unwrap()
    });
    let send = |digest: &str, body: &[u8]| {
        let head = [("content-type", "application/x-tar")];
        let path = format!("/v1/workers?digest={digest}");
        sengu.api.call("POST", &path, &head, body)
    };
    assert_eq!(send(digest, &tar).status, 200);
    let lie = format!("sha256:{}", "0".repeat(64));
    for (digest, body, status, code) in [
        (&*lie, &tar[..], 422, "digest_mismatch"),
        (digest, &tar[..tar.len() - 1], 422, "digest_mismatch"),
        ("sha256:12", &tar[..], 422, "invalid_field"),
        // That of the three bytes `abc`.
        (
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            b"abc",
            422,
            "invalid_image",
        ),
    ] {
        let reply = send(digest, body);
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.json()["code"], code, "{}", reply.text());
    }
    assert_eq!(blobs(&sengu), kept, "nothing is left of what was refused");
    assert!(sengu.version("toy@1.1.0").is_none());
    let ran = sengu.cli(&["promote", "toy@1.1.0"]);
    assert!(
        ran.code != 0 && ran.stderr.contains("unknown_version"),
        "{ran:?}"
    );
    let task = sengu.task("echo-0001", "noop", json!({}), s(10));
    assert_eq!(task["ending"]["outcome"]["status"], "done", "{task}");
}

#[test]
fn of_two_promotions_one_wins_and_a_pin_is_honoured_or_refused() {
    let sengu = Instance::start();
    let place = sengu.beside("");
    sengu.api.yaml(&fleet::echo(4)).expect(200);
    sengu.push(&Image::shipped(&place, "echo", "1.1.0", &[]));
    sengu.push(&Image::shipped(&place, "echo", "1.2.0", &[]));
    // At the same moment.
    let words = |version: &str| {
        vec![
            "promote".to_owned(),
            format!("echo@{version}"),
            "--share=10%".to_owned(),
        ]
    };
    let (one, two) = std::thread::scope(|scope| {
        let run = |words: Vec<String>| {
            let sengu = &sengu;
            scope.spawn(move || {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                sengu.cli(&words)
            })
        };
        let (one, two) = (run(words("1.1.0")), run(words("1.2.0")));
        (one.join().unwrap(), two.join().unwrap())
    });
    let (won, lost) = match one.code {
        0 => (one, two),
        _ => (two, one),
    };
    assert_eq!(won.code, 0, "{won:?}");
    assert_ne!(lost.code, 0, "{lost:?}");
    let told = ["conflict", "rollout_in_progress"];
    assert!(
        told.iter().any(|code| lost.stderr.contains(code)),
        "{lost:?}"
    );
    let rules = sengu.release("echo")["spec"]["rules"].clone();
    assert_eq!(rules.as_array().unwrap().len(), 1, "{rules}");
    let winner = rules[0]["version"].as_str().unwrap().to_owned();
    let loser = if winner == "1.1.0" { "1.2.0" } else { "1.1.0" };
    // One after the other: told what is on its way and what can be done.
    let later = sengu.cli(&["promote", &format!("echo@{loser}")]);
    for word in [
        "rollout_in_progress",
        &winner,
        "sengu rollback echo",
        "--replace",
    ] {
        assert!(later.stderr.contains(word), "{word}: {later:?}");
    }

    // A pin wins over whatever the Release says, and is never quietly another version.
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let body = json!({"targets": ["echo-0002"], "action": "noop", "version": version});
        let made = sengu.api.post("/v1/tasks", &body).expect(202);
        let task = sengu.ended(made["tasks"][0]["id"].as_str().unwrap(), s(15));
        assert_eq!(task["ending"]["outcome"]["status"], "done", "{task}");
        assert_eq!(version_of(&task), version, "{task}");
        let chosen = task["ending"]["chosen"].as_str().unwrap();
        assert!(chosen.contains(&format!("pinned to {version}")), "{chosen}");
    }
    let body = json!({"targets": ["echo-0002"], "action": "noop", "version": "7.0.0"});
    let refused = sengu.api.post("/v1/tasks", &body);
    assert_eq!(
        refused.json()["code"],
        "unknown_version",
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("1.2.0"), "{}", refused.text());
}

#[test]
fn a_disk_that_is_full_during_a_push_changes_nothing_and_a_push_works_when_there_is_space() {
    const PADDING: usize = 3 << 20;
    let mut sengu = Instance::prepare();
    let disk = Disk::give(&mut sengu);
    sengu.up();
    let image = Image::script(&sengu.beside(""), "toy", "1.0.0", "good").padded(PADDING);
    let folder = image.folder.display().to_string();
    let before = blobs(&sengu);
    // None left at all, and then too little left: it ends in the middle of the image.
    for left in [0, 1 << 20] {
        disk.fill_but(&sengu, left);
        let ran = sengu.cli(&["worker", "push", &folder]).expect(4);
        assert!(ran.stderr.contains("store_unavailable"), "{ran:?}");
        assert!(ran.stderr.contains("disk"), "{ran:?}");
        assert!(sengu.version("toy@1.0.0").is_none());
        assert_eq!(blobs(&sengu), before, "with {left} bytes left");
        disk.free(&sengu);
    }
    until("a push works", s(15), || {
        (sengu.cli(&["worker", "push", &folder]).code == 0).then_some(())
    });
    let target = fleet::echo(1).replace("kind: echo", "kind: toy");
    sengu.api.yaml(&target).expect(200);
    let task = sengu.task("echo-0001", "observe", json!({}), s(15));
    assert_eq!(task["ending"]["outcome"]["status"], "done", "{task}");
    drop(sengu);
}
