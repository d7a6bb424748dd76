//! Roles in processes of their own on real engines: brokers and databases are killed and come back, the active logic
//! role dies or is paused. The twins count what really happened.

use crate::kills::{begin, devices, finish, honest};
use sengu_e2e::process::signal;
use sengu_e2e::servers::{Follower, Server};
use sengu_e2e::{Dice, Fleet, Instance, Wee, fleet, json, s, until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

/// A logic role with this configuration; nothing runs yet.
pub fn logic(config: &str) -> Instance {
    let mut logic = Instance::prepare();
    logic.arguments = ["--role", "logic"].map(str::to_owned).to_vec();
    fs::create_dir(&logic.data).unwrap();
    fs::set_permissions(&logic.data, fs::Permissions::from_mode(0o700)).unwrap();
    let file = logic.data.join("sengu.toml");
    fs::write(&file, config).unwrap();
    // It may hold a password.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    logic
}

/// Waits until a logic role is the active one; one on a shared store stands by for a moment first.
pub fn active(logic: &Instance) {
    until("it is the active one", s(60), || {
        let answer = logic.api.try_call("GET", "/v1/version", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
}

/// Two execution environments, the first of which joins by `url` if there is one.
pub fn wees(logic: &Instance, url: Option<&str>) -> Vec<Wee> {
    active(logic);
    let mut wees = vec![Wee::prepare(logic, "one"), Wee::prepare(logic, "two")];
    if let Some(url) = url {
        wees[0].join = wees[0].edited_join(logic, "url", url);
    }
    wees.iter_mut().for_each(Wee::up);
    for wee in &mut wees {
        wee.joined(logic);
    }
    wees
}

/// Runs of every effect go on while `fault` happens.
pub fn through(config: &str, fault: impl FnOnce(&mut Instance)) {
    let mut fleet = devices();
    let mut logic = logic(config);
    logic.up();
    let _wees = wees(&logic, None);
    fleet.apply(&logic);
    let runs = begin(&logic);
    std::thread::sleep(Duration::from_millis(300 + Dice::new().below(900)));
    fault(&mut logic);
    // While the store was away it could not be sure to be the active one, and said so.
    active(&logic);
    let over = finish(&logic, runs, s(200));
    honest(&logic, &mut fleet, &over);
}

/// Away for a while, and back on what it has kept.
fn bounce(server: &mut Server) {
    server.kill();
    std::thread::sleep(s(3));
    server.begin();
}

#[test]
fn over_nats_that_is_killed_and_comes_back() {
    let mut nats = Server::nats();
    let config = format!("[interconnect]\nurl = \"nats://127.0.0.1:{}\"\n", nats.port);
    through(&config, |_| bounce(&mut nats));
}

#[test]
fn over_mqtt_that_is_killed_and_comes_back() {
    let mut broker = Server::mosquitto();
    let config = format!(
        "[interconnect]\nurl = \"mqtt://127.0.0.1:{}\"\n",
        broker.port
    );
    through(&config, |_| bounce(&mut broker));
}

#[test]
fn over_rabbitmq_and_mqtt_with_followers_and_a_broker_that_is_killed() {
    let rabbit = Server::rabbitmq();
    let mut mqtt = Server::mosquitto();
    let config = format!(
        "[interconnect]\nurl = \"amqp://guest:guest@127.0.0.1:{}\"\nresults = \"mqtt://127.0.0.1:{}\"\n",
        rabbit.port, mqtt.port
    );
    let follower = Follower::mosquitto_sub(mqtt.port, "sengu/v1/result/#", None);
    let mut fleet = devices();
    let mut logic = logic(&config);
    logic.up();
    let _wees = wees(&logic, None);
    fleet.apply(&logic);
    let runs = begin(&logic);
    let told = follower.next(s(30));
    let (topic, body) = told.split_once(' ').unwrap();
    assert!(topic.starts_with("sengu/v1/result/"), "{told}");
    let event: sengu_e2e::Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["specversion"], "1.0", "{event}");
    bounce(&mut mqtt);
    let over = finish(&logic, runs, s(150));
    honest(&logic, &mut fleet, &over);
}

#[test]
fn on_postgresql_that_is_killed_and_comes_back() {
    let mut postgres = Server::postgres();
    let config = format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:{}/postgres\"\n",
        postgres.port
    );
    through(&config, |_| bounce(&mut postgres));
}

/// An active role and one that stands by, on one database and one broker.
struct Pair {
    active: Instance,
    standby: Instance,
    _postgres: Server,
    _nats: Server,
}

fn pair() -> Pair {
    let (postgres, nats) = (Server::postgres(), Server::nats());
    let config = |name: &str| {
        format!(
            "name = \"{name}\"\n[store]\nurl = \"postgres://sengu@127.0.0.1:{}/postgres\"\n\
             [interconnect]\nurl = \"nats://127.0.0.1:{}\"\n",
            postgres.port, nats.port
        )
    };
    let mut active = logic(&config("a"));
    active.up();
    self::active(&active);
    // Nobody can run workers yet: one that looks why must reach it.
    assert_eq!(active.api.call("GET", "/readyz", &[], b"").status, 200);
    let mut standby = logic(&config("b"));
    for file in ["token", "seal.key"] {
        fs::copy(active.data.join(file), standby.data.join(file)).unwrap();
    }
    standby.up();
    let refused = standby
        .api
        .try_call("GET", "/v1/version", &[], b"")
        .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("\"standby\""), "{}", refused.text());
    assert_eq!(standby.api.call("GET", "/readyz", &[], b"").status, 503);
    Pair {
        active,
        standby,
        _postgres: postgres,
        _nats: nats,
    }
}

/// 5 s where nothing else runs; what it takes is measured by the bench.
fn takes_over(standby: &Instance) {
    let begun = Instant::now();
    until("the standby is the active one", s(20), || {
        let answer = standby.api.try_call("GET", "/v1/version", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
    println!("took over within {:?}", begun.elapsed());
}

#[test]
fn a_standby_takes_over_from_an_active_role_that_dies() {
    let mut pair = pair();
    let mut fleet = devices();
    let _wees = wees(&pair.active, None);
    fleet.apply(&pair.active);
    let runs = begin(&pair.active);
    std::thread::sleep(Duration::from_millis(300 + Dice::new().below(900)));
    pair.active.kill();
    takes_over(&pair.standby);
    let over = finish(&pair.standby, runs, s(150));
    honest(&pair.standby, &mut fleet, &over);
    // The command line finds whoever is the active one.
    let servers = format!("http://127.0.0.1:1,http://{}", pair.standby.api.address);
    let listed = pair.standby.cli(&["--server", &servers, "get", "wees"]);
    assert!(listed.expect(0).stdout.contains("one"));
}

#[test]
fn an_active_role_that_was_paused_does_no_harm_when_it_wakes_up() {
    use rustix::process::Signal;
    let mut pair = pair();
    let mut fleet = devices();
    let _wees = wees(&pair.active, None);
    fleet.apply(&pair.active);
    let runs = begin(&pair.active);
    std::thread::sleep(Duration::from_millis(300 + Dice::new().below(900)));
    signal(pair.active.pid(), Signal::STOP);
    takes_over(&pair.standby);
    signal(pair.active.pid(), Signal::CONT);
    // From its first word on it says that it is not the active one; then it begins anew, on another free port.
    let body = json!({"targets": ["redfish-0001"], "action": "power.cycle"}).to_string();
    let words = [("content-type", "application/json")];
    let endpoint = pair.active.data.join("endpoint");
    until("it says that it stands by", s(20), || {
        let url = fs::read_to_string(&endpoint).ok()?;
        pair.active.api.address = url.trim().strip_prefix("http://")?.to_owned();
        let api = &pair.active.api;
        let answer = api.try_call("POST", "/v1/tasks", &words, body.as_bytes());
        let answer = answer.ok()?;
        assert_ne!(answer.status, 202, "{}", answer.text());
        (answer.status == 503 && answer.text().contains("stands by")).then_some(())
    });
    let over = finish(&pair.standby, runs, s(150));
    honest(&pair.standby, &mut fleet, &over);
    // And takes over in its turn.
    pair.standby.kill();
    takes_over(&pair.active);
}

#[test]
fn the_embedded_default_is_followed_with_mosquitto_sub() {
    let mut sengu = Instance::prepare();
    sengu.arguments = ["--listen-mqtt", "127.0.0.1:0"].map(str::to_owned).to_vec();
    sengu.up();
    let url = fs::read_to_string(sengu.data.join("mqtt")).unwrap();
    let port = url.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    let token = sengu.api.token.clone().unwrap();
    let follower = Follower::mosquitto_sub(port, "sengu/v1/#", Some(&token));
    let mut topics = Vec::new();
    let told = |topics: &[String], start: &str| topics.iter().any(|t| t.starts_with(start));
    // Changes are told to those who follow already, so there is one more until it does.
    let mut count = 0;
    until("changes are told", s(30), || {
        count += 1;
        sengu.api.yaml(&fleet::echo(count)).expect(200);
        topics.extend(follower.try_next(s(1)));
        told(&topics, "sengu/v1/record/target/echo-").then_some(())
    });
    sengu.task("echo-0001", "observe", json!({}), s(20));
    while !told(&topics, "sengu/v1/result/") {
        topics.push(follower.next(s(20)));
    }
}

#[test]
fn config_check_tells_what_is_missing() {
    let fleet = Fleet::new();
    drop(fleet);
    let nats = Server::nats();
    let sengu = logic(&format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:1/none\"\n[interconnect]\nurl = \"nats://127.0.0.1:{}\"\n",
        nats.port
    ));
    let ran = sengu.cli(&["config", "check", "-o", "json"]).expect(1);
    let lines = ran.json();
    let lines = lines.as_array().unwrap();
    let of = |part: &str, verdict: &str| {
        let fits = |l: &&sengu_e2e::Value| {
            l["of"].as_str().unwrap().contains(part) && l["verdict"] == verdict
        };
        lines.iter().filter(fits).count()
    };
    assert!(
        of("nats", "good") >= 3 && of("nats", "bad") == 0,
        "{lines:?}"
    );
    assert_eq!(of("127.0.0.1:1", "bad"), 1, "{lines:?}");
}
