//! More kinds without stopping the whole: two kinds that sengu has never seen are pushed into it while it runs, and
//! observe and act at once. Nothing restarts, and the kinds that were there do not notice.

use sengu_e2e::process::Process;
use sengu_e2e::{Fleet, Instance, Value, folder, json, s};
use std::os::unix::fs::symlink;

/// A sengu that came with these workers only.
fn with_workers(kinds: &[&str]) -> Instance {
    let mut sengu = Instance::prepare();
    let workers = sengu.beside("workers");
    std::fs::create_dir(&workers).unwrap();
    for kind in kinds {
        symlink(folder().join("workers").join(kind), workers.join(kind)).unwrap();
    }
    let workers = workers.display().to_string();
    sengu.arguments = vec!["--workers".to_owned(), workers];
    sengu.up();
    sengu
}

fn done(task: &Value) {
    assert_eq!(task["ending"]["outcome"]["status"], "done", "{task:#}");
}

#[test]
fn modbus_and_http_are_pushed_into_a_running_sengu_and_work_at_once() {
    let sengu = with_workers(&["redfish", "ssh", "snmp", "echo"]);
    let mut old = Fleet::new()
        .with("redfish", 8, &[])
        .with("ssh", 8, &[])
        .with("snmp", 8, &[]);
    old.apply(&sengu);
    let mut new = Fleet::new().with("modbus", 6, &[]).with("http", 6, &[]);
    // Nobody knows these kinds.
    let refused = sengu.api.yaml(&new.text());
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("modbus"), "{}", refused.text());
    for kind in ["redfish", "ssh", "snmp"] {
        sengu.observe_all(kind, s(20)).iter().for_each(done);
    }
    let pid = sengu.pid();
    let before: Vec<Process> = sengu.workers("");
    assert!(before.len() >= 3, "{before:?}");
    // The old kinds go on working all the while.
    let busy = json!({"action": "exec", "params": {"command": "sleep 2"}, "selector": "kind=ssh"});
    let busy = sengu.run(&busy);

    for kind in ["modbus", "http"] {
        let folder = folder().join("workers").join(kind).display().to_string();
        let pushed = sengu.cli(&["worker", "push", &folder]).expect(0);
        assert!(pushed.stdout.contains(kind), "{pushed:?}");
    }
    new.apply(&sengu);
    for (kind, reading) in [("modbus", "modbus_"), ("http", "http_source_up")] {
        let tasks = sengu.observe_all(kind, s(20));
        assert_eq!(tasks.len(), 6);
        for task in &tasks {
            done(task);
            let instance = task["ending"]["instance"].as_str().unwrap();
            assert!(instance.starts_with(kind), "{instance}");
        }
        // A reading of each target is there to be seen.
        let name = tasks[0]["target"].as_str().unwrap();
        let record = sengu.api.get(&format!("/v1/records/Target/{name}"));
        let readings = record["status"]["readings"].to_string();
        let seen = readings.contains(reading) || kind == "modbus" && readings.contains("_celsius");
        assert!(seen, "{kind}: {record:#}");
        assert!(!record["status"]["facts"]["vendor"].is_null(), "{record:#}");
    }
    acts(&sengu, &mut new);

    // Nothing was started again, and nobody else was touched.
    assert_eq!(sengu.over(&busy, s(20))["status"]["counts"]["done"], 8);
    assert_eq!(sengu.pid(), pid);
    for process in &before {
        assert!(process.lives(), "{process:?} is gone");
    }
    for kind in ["redfish", "ssh", "snmp"] {
        sengu.observe_all(kind, s(20)).iter().for_each(done);
    }
    let effects = old.effects();
    assert!(
        (1..=8).all(|n| effects[&format!("ssh-{n}")]["exec"] == 1),
        "{effects:?}"
    );
}

/// Both kinds change something, once.
fn acts(sengu: &Instance, new: &mut Fleet) {
    let point = json!({"point": "supply_setpoint", "value": 22.5});
    let cooling = sengu.pages("/v1/records/Target?limit=100");
    let modbus = cooling.iter().find(|r| {
        r["spec"]["kind"] == "modbus" && r["spec"]["config"]["profile"] == "cooling-unit"
    });
    let modbus = modbus.expect("a cooling unit")["metadata"]["name"]
        .as_str()
        .unwrap();
    let set = sengu.task(modbus, "point.set", point.clone(), s(20));
    done(&set);
    assert_eq!(set["ending"]["outcome"]["changed"], true, "{set:#}");
    // It is so already.
    let again = sengu.task(modbus, "point.set", point, s(20));
    done(&again);
    assert_eq!(again["ending"]["outcome"]["changed"], false, "{again:#}");

    let request = json!({"request": "restart"});
    let restarted = sengu.task("http-1", "request.change", request, s(30));
    done(&restarted);
    let effects = new.effects();
    assert_eq!(effects[modbus]["point.set"], 1, "{effects:?}");
    assert_eq!(effects["http-1"]["restart"], 1, "{effects:?}");
}
