//! Networks that are slow, one-way or away, engines that are full or have no place left, clocks that step, and two of
//! it at once, on roles in processes of their own. The twins count what really happened.

use crate::grown::{self, active, logic, wees};
use crate::kills::{RUNS, begin_one, devices, finish, honest};
use sengu_e2e::servers::Server;
use sengu_e2e::wire::{Fault, Wire};
use sengu_e2e::{Dice, Wee, s};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

/// Until the last outcome. What is lost on the way is noticed by its lease.
const LIMIT: Duration = Duration::from_secs(200);

fn nats_at(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// Before each fault a run of another effect begins, so that each one meets work in hand; the first environment joins by
/// `url` if there is one.
pub fn through(config: &str, url: Option<&str>, faults: [&mut dyn FnMut(); RUNS]) {
    let mut fleet = devices();
    let mut logic = logic(config);
    logic.up();
    let _wees = wees(&logic, url);
    fleet.apply(&logic);
    let mut runs = Vec::new();
    for (number, fault) in faults.into_iter().enumerate() {
        active(&logic);
        runs.push(begin_one(&logic, number));
        std::thread::sleep(Duration::from_millis(100 + Dice::new().below(400)));
        fault();
    }
    active(&logic);
    let over = finish(&logic, runs, LIMIT);
    honest(&logic, &mut fleet, &over);
}

#[test]
fn one_way_cuts_between_logic_and_nats_and_between_one_environment_and_nats() {
    let nats = Server::nats();
    let (to_logic, to_wee) = (Wire::to(nats.port), Wire::to(nats.port));
    let config = format!("[interconnect]\nurl = \"{}\"\n", nats_at(to_logic.port));
    let faults: [&mut dyn FnMut(); RUNS] = [
        &mut || to_logic.suffers(Fault::Mute, s(6)),
        &mut || to_wee.suffers(Fault::Mute, s(6)),
        &mut || to_logic.suffers(Fault::Deaf, s(6)),
        &mut || to_wee.suffers(Fault::Deaf, s(6)),
    ];
    through(&config, Some(&nats_at(to_wee.port)), faults);
}

#[test]
fn a_rabbitmq_that_answers_after_5_s_then_has_no_memory_and_no_disk_then_is_killed() {
    let (mut rabbit, mqtt) = (Server::rabbitmq(), Server::mosquitto());
    let (tasks, results) = (Wire::to(rabbit.port), Wire::to(mqtt.port));
    let config = format!(
        "[interconnect]\nurl = \"amqp://guest:guest@127.0.0.1:{}\"\nresults = \"mqtt://127.0.0.1:{}\"\n",
        tasks.port, results.port
    );
    let rabbit = std::cell::RefCell::new(&mut rabbit);
    let faults: [&mut dyn FnMut(); RUNS] = [
        &mut || {
            results.set(Fault::Slow(s(5)));
            tasks.suffers(Fault::Slow(s(5)), s(12));
            results.set(Fault::Whole);
        },
        // Its alarms: it takes nothing from anybody who publishes.
        &mut || {
            let memory = "set_vm_memory_high_watermark";
            rabbit.borrow().control(&[memory, "absolute", "1MB"]);
            std::thread::sleep(s(5));
            rabbit.borrow().control(&[memory, "0.4"]);
            let disk = "set_disk_free_limit";
            rabbit.borrow().control(&[disk, "100000GB"]);
            std::thread::sleep(s(5));
            rabbit.borrow().control(&[disk, "50MB"]);
        },
        &mut || {
            rabbit.borrow_mut().kill();
            rabbit.borrow_mut().begin();
        },
        &mut || tasks.suffers(Fault::Away, s(3)),
    ];
    through(&config, None, faults);
}

#[test]
fn a_postgresql_that_is_silent_then_slow_then_has_no_connection_to_spare() {
    let postgres = Server::postgres();
    let wire = Wire::to(postgres.port);
    let config = format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:{}/postgres\"\n",
        wire.port
    );
    let faults: [&mut dyn FnMut(); RUNS] = [
        &mut || wire.suffers(Fault::Silent, s(6)),
        &mut || wire.suffers(Fault::Slow(s(5)), s(12)),
        &mut || wire.suffers(Fault::Away, s(3)),
        // Others have all of its connections; sengu loses its own.
        &mut || {
            let mut others = Vec::new();
            for round in 0..2 {
                if round == 1 {
                    wire.set(Fault::Away);
                    wire.set(Fault::Whole);
                }
                others.extend((0..120).map(|_| occupy(postgres.port)));
                std::thread::sleep(s(2));
            }
            std::thread::sleep(s(5));
        },
    ];
    through(&config, None, faults);
}

/// A connection that says who it is, and nothing further.
fn occupy(port: u16) -> TcpStream {
    let mut words = 196_608_u32.to_be_bytes().to_vec();
    words.extend(b"user\0sengu\0database\0postgres\0\0");
    let mut message = (words.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend(words);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&message).unwrap();
    stream
}

#[test]
fn logic_and_its_broker_die_at_once() {
    let mut nats = Server::nats();
    let config = format!("[interconnect]\nurl = \"{}\"\n", nats_at(nats.port));
    grown::through(&config, |logic| {
        nats.kill();
        logic.kill();
        logic.up();
        std::thread::sleep(s(3));
        nats.begin();
    });
}

#[test]
fn clocks_that_step_by_an_hour() {
    let nats = Server::nats();
    let mut fleet = devices();
    let mut logic = logic(&format!(
        "[interconnect]\nurl = \"{}\"\n",
        nats_at(nats.port)
    ));
    let clock = |name: &str| logic.beside(&format!("{name}.clock"));
    let clocks = [clock("logic"), clock("one")];
    let set = |clock: &std::path::Path, offset: &str| {
        // Read while it is written it would be empty.
        let new = clock.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, clock).unwrap();
    };
    clocks.iter().for_each(|c| set(c, "+0"));
    logic.wrapper = stepped(&clocks[0]);
    logic.up();
    let mut wees = vec![Wee::prepare(&logic, "one"), Wee::prepare(&logic, "two")];
    wees[0].wrapper = stepped(&clocks[1]);
    wees.iter_mut().for_each(Wee::up);
    for wee in &mut wees {
        wee.joined(&logic);
    }
    fleet.apply(&logic);
    let steps = [
        (&clocks[1], "+3600"),
        (&clocks[0], "+3600"),
        (&clocks[1], "-3600"),
        (&clocks[0], "+0"),
    ];
    let mut runs = Vec::new();
    for (number, (clock, offset)) in steps.into_iter().enumerate() {
        runs.push(begin_one(&logic, number));
        std::thread::sleep(Duration::from_millis(100 + Dice::new().below(400)));
        set(clock, offset);
        std::thread::sleep(s(2));
    }
    let over = finish(&logic, runs, LIMIT);
    honest(&logic, &mut fleet, &over);
}

/// Words before a program that lets its wall clock differ by the seconds that the file says, from one look to the next.
fn stepped(clock: &std::path::Path) -> Vec<String> {
    // In the folder of the machine's architecture.
    let library = fs::read_dir("/usr/lib")
        .unwrap()
        .map(|d| d.unwrap().path().join("faketime/libfaketime.so.1"));
    let library = library.filter(|l| l.is_file()).max();
    let library = library.expect("libfaketime: run `cargo xtask test`");
    [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
    .to_vec()
}
