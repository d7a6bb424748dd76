//! A PostgreSQL that fails over to another server, under roles in processes of their own. The twins count what really
//! happened.

use crate::grown::{logic, wees};
use crate::kills::RUNS;
use crate::wires::through;
use sengu_e2e::servers::Server;
use sengu_e2e::{Fleet, Instance, Value, fleet, json, s, until};
use std::cell::RefCell;
use std::fs;

#[test]
fn a_postgresql_that_fails_over_and_back_while_the_former_primary_comes_up_again() {
    let one = Server::postgres();
    let other = Server::standby_of(&one);
    let config = format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write\"\n",
        one.port, other.port
    );
    let (one, other) = (RefCell::new(one), RefCell::new(other));
    let faults: [&mut dyn FnMut(); RUNS] = [
        &mut || {
            one.borrow_mut().kill();
            other.borrow().promote();
        },
        // As it was, since nobody keeps it from it: it takes writes, and is named first.
        &mut || {
            one.borrow_mut().begin();
            one.borrow().answers();
        },
        &mut || {
            one.borrow_mut().kill();
            one.borrow_mut().follow(&other.borrow());
        },
        &mut || {
            other.borrow_mut().kill();
            one.borrow().promote();
        },
    ];
    through(&config, None, faults);
}

const HOSTS: u32 = 20;

/// Begins to run a command on all hosts.
fn exec(logic: &Instance, command: &str) -> String {
    let spec = json!({"action": "exec", "params": {"command": command}, "selector": "kind=ssh"});
    logic.run(&spec)
}

fn done(run: &Value) -> u64 {
    run["status"]["counts"]["done"].as_u64().unwrap()
}

#[test]
fn commits_that_a_failover_has_lost_end_the_life_that_has_them_in_memory() {
    let (mut one, other) = {
        let one = Server::postgres();
        let other = Server::standby_of(&one);
        (one, other)
    };
    let nats = Server::nats();
    let mut fleet = Fleet::new().with("ssh", HOSTS, &["--latency-ms", "20"]);
    let mut logic = logic(&format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write\"\n\
         [interconnect]\nurl = \"nats://127.0.0.1:{}\"\n",
        one.port, other.port, nats.port
    ));
    logic.up();
    let _wees = wees(&logic, None);
    fleet.apply(&logic);
    let kept = exec(&logic, "true");
    assert_eq!(done(&logic.over(&kept, s(60))), u64::from(HOSTS));

    // From here on commits wait for nobody, and the other one hears of none.
    one.waits_for("");
    let heard = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
    until("the standby has all", s(30), || {
        (one.sql(heard) == "1").then_some(())
    });
    other.hears_nothing();
    logic.api.yaml(&fleet::echo(1)).expect(200);
    let lost = exec(&logic, "true");
    assert_eq!(done(&logic.over(&lost, s(60))), u64::from(HOSTS));
    let in_hand = exec(&logic, "sleep 3");
    until("it is in hand", s(30), || {
        let run = logic.api.get(&format!("/v1/runs/{in_hand}"));
        (run["status"]["counts"]["active"].as_u64()? > 0).then_some(())
    });
    one.kill();
    other.promote();

    // The life that knew of them ends; the next one reads what is there, on another free port.
    let endpoint = logic.data.join("endpoint");
    let status =
        |api: &sengu_e2e::Api, path: &str| Some(api.try_call("GET", path, &[], b"").ok()?.status);
    until("it has begun anew", s(60), || {
        let url = fs::read_to_string(&endpoint).ok()?;
        logic.api.address = url.trim().strip_prefix("http://")?.to_owned();
        let path = format!("/v1/runs/{lost}");
        (status(&logic.api, &path)? == 404).then_some(())
    });
    assert!(logic.alive(), "in the same process");
    let log = fs::read_to_string(&logic.log).unwrap();
    assert!(log.contains("lost commits"), "{}", logic.tail());
    for gone in [
        "/v1/records/Target/echo-0001",
        &format!("/v1/runs/{in_hand}"),
    ] {
        assert_eq!(status(&logic.api, gone), Some(404), "{gone}");
    }
    assert_eq!(
        done(&logic.api.get(&format!("/v1/runs/{kept}"))),
        u64::from(HOSTS)
    );

    // What was in hand ends at its hosts, and holds up nothing.
    let new = exec(&logic, "true");
    assert_eq!(done(&logic.over(&new, s(120))), u64::from(HOSTS));
    assert!(logic.pages("/v1/tasks?state=open&limit=100").is_empty());
    until("the environments have nothing in hand", s(60), || {
        let busy = |wee: &Value| {
            let pools = wee["pools"].as_array().into_iter().flatten();
            pools.filter_map(|p| p["slots_busy"].as_u64()).sum::<u64>()
        };
        let wees = logic.wees();
        (wees.len() == 2 && wees.iter().all(|w| busy(w) == 0)).then_some(())
    });
    for (host, effects) in fleet.effects() {
        let times = effects.get("exec").copied().unwrap_or(0);
        assert!((3..=4).contains(&times), "{host}: {effects:?}");
    }
}
