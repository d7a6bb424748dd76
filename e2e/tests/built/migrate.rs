//! `sengu migrate`: the store of a sengu that works moves into PostgreSQL and back, and nothing of it is lost, done twice or
//! told otherwise than it was. The twins count what really happened.

use crate::kills::{Over, begin_one, devices, finish, honest};
use sengu_e2e::servers::Server;
use sengu_e2e::{Image, Instance, Ran, Value, json, s, until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const TARGET: &str =
    "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: toy-1}\nspec: {kind: toy, address: x}\n";

/// What the command said: every part was compared, and is the same in both.
fn is_whole(ran: &Ran) {
    let status = ran.json();
    assert_eq!(status["state"], "moved", "{status:#}");
    for part in ["meta", "records", "changes", "tasks", "entries"] {
        let all = status["parts"].as_array().unwrap();
        let found = all.iter().find(|p| p["part"] == part).unwrap();
        assert!(found["rows"].as_u64().unwrap() > 0, "{found}");
        assert_eq!(found["sha256"].as_str().unwrap().len(), 64, "{found}");
    }
    // 2 s is the limit for what comes before the last commit; that one takes what the disk takes.
    assert!(status["pauseMs"].as_u64().unwrap() <= 10_000, "{status:#}");
}

fn configure(sengu: &Instance, text: &str) {
    let file = sengu.data.join("sengu.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A start that is refused; what it says.
fn refused(sengu: &Instance) -> String {
    let data = sengu.data.display().to_string();
    let ran = sengu.cli(&["up", "--listen", "127.0.0.1:0", "--data", &data]);
    assert_ne!(ran.code, 0, "{ran:?}");
    ran.stderr
}

/// The pushed version runs from what the store kept of it: what the execution environment had fetched is thrown away.
fn toy_runs(sengu: &mut Instance, config: &str) {
    sengu.terminate();
    fs::remove_dir_all(sengu.data.join("images")).unwrap();
    configure(sengu, config);
    sengu.up();
    let task = sengu.task("toy-1", "observe", json!({}), s(30));
    assert_eq!(task["ending"]["outcome"]["status"], "done", "{task:#}");
}

fn acts(sengu: &Instance) -> Vec<Value> {
    let page = sengu.api.get("/v1/audit?limit=1000");
    page["items"].as_array().unwrap().clone()
}

#[test]
fn the_store_moves_into_postgresql_and_back_while_work_goes_on() {
    let postgres = Server::postgres();
    let url = format!("postgres://sengu@127.0.0.1:{}/postgres", postgres.port);
    let mut fleet = devices();
    let mut sengu = Instance::start();
    fleet.apply(&sengu);
    sengu.push(&Image::script(&sengu.beside(""), "toy", "1.0.0", "good"));
    sengu.api.yaml(TARGET).expect(200);

    let nowhere = "postgres://sengu@127.0.0.1:1/postgres";
    let ran = sengu.cli(&["migrate", "--to", nowhere]);
    assert_ne!(ran.code, 0, "{ran:?}");

    // There, in the middle of runs.
    let begin = |sengu: &Instance, numbers: [usize; 2]| {
        numbers.map(|number| begin_one(sengu, number)).to_vec()
    };
    let runs = begin(&sengu, [0, 2]);
    let ran = sengu.cli(&["migrate", "--to", &url, "-o", "json"]);
    is_whole(&ran.expect(0));
    let engine = |sengu: &Instance| sengu.api.get("/v1/version")["store"]["engine"].to_string();
    assert!(engine(&sengu).contains("PostgreSQL"), "{}", engine(&sengu));
    let over = finish(&sengu, runs, s(120));
    honest(&sengu, &mut fleet, &over);
    let before = acts(&sengu);
    let asked = before.iter().filter(|act| act["what"] == "move-asked");
    assert_eq!(asked.count(), 1, "not the one that was refused: {before:?}");

    // With the old configuration it would begin anew on what was left behind.
    sengu.terminate();
    let why = refused(&sengu);
    assert!(
        why.contains("[store]") && why.contains("PostgreSQL"),
        "{why}"
    );
    let there = format!("[store]\nurl = \"{url}\"\n");
    configure(&sengu, &there);
    sengu.up();
    assert_eq!(acts(&sengu), before, "the audit moved too");
    told_again(&sengu, &over);
    toy_runs(&mut sengu, &there);

    // And back, again in the middle.
    let runs = begin(&sengu, [1, 3]);
    let ran = sengu.cli(&["migrate", "--to", "sqlite", "-o", "json"]);
    is_whole(&ran.expect(0));
    sengu.kill();
    let why = refused(&sengu);
    assert!(
        why.contains("sqlite") || why.contains("data directory"),
        "{why}"
    );
    configure(&sengu, "");
    sengu.up();
    let over = finish(&sengu, runs, s(120));
    honest(&sengu, &mut fleet, &over);
    assert!(engine(&sengu).contains("SQLite"), "{}", engine(&sengu));
    toy_runs(&mut sengu, "");
}

/// Each result is there once, for those who come late.
fn told_again(sengu: &Instance, runs: &[Over]) {
    for over in runs {
        let targets = sengu.run_targets(&over.run);
        assert!(
            targets.iter().all(|t| t["state"] == "ended"),
            "{}",
            over.run
        );
    }
    until("no task is open", s(10), || {
        (sengu.api.get("/v1/version")["store"]["tasksOpen"] == 0).then_some(())
    });
}
