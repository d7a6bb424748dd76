//! For as long as one likes: runs of every effect on PostgreSQL and NATS, each through two faults at once that dice
//! choose; the first one with a broker that is away for ten minutes.

use crate::grown::{active, logic, wees};
use crate::kills::{begin, devices, finish, honest};
use sengu_e2e::servers::Server;
use sengu_e2e::wire::{Fault, Wire};
use sengu_e2e::{Dice, Wee, s};
use std::time::{Duration, Instant};

const MINUTES: u64 = 60;
const LIMIT: Duration = Duration::from_secs(300);

#[test]
#[ignore = "takes an hour, or SENGU_SOAK_MINUTES"]
fn soak() {
    let minutes = std::env::var("SENGU_SOAK_MINUTES").ok();
    let minutes = minutes.map_or(MINUTES, |m| m.parse().expect("a number of minutes"));
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        println!("round {round}");
        one(round == 0);
        round += 1;
    }
    println!("{round} rounds");
}

fn one(long: bool) {
    let mut dice = Dice::new();
    let (mut postgres, mut nats) = (Server::postgres(), Server::nats());
    let (store, broker) = (Wire::to(postgres.port), Wire::to(nats.port));
    let to_wee = Wire::to(nats.port);
    let mut fleet = devices();
    let mut logic = logic(&format!(
        "[store]\nurl = \"postgres://sengu@127.0.0.1:{}/postgres\"\n\
         [interconnect]\nurl = \"nats://127.0.0.1:{}\"\n",
        store.port, broker.port
    ));
    logic.up();
    let mut wees = wees(&logic, Some(&format!("nats://127.0.0.1:{}", to_wee.port)));
    fleet.apply(&logic);
    let runs = begin(&logic);
    std::thread::sleep(Duration::from_millis(300 + dice.below(900)));
    if long {
        broker.suffers(Fault::Away, s(600));
    } else {
        let wires = [&store, &broker, &to_wee];
        let faults = [
            Fault::Mute,
            Fault::Deaf,
            Fault::Silent,
            Fault::Away,
            Fault::Slow(s(5)),
        ];
        let wire = wires[dice.below(3) as usize];
        let fault = faults[dice.below(5) as usize];
        let time = s(1 + dice.below(40));
        println!("{fault:?} for {time:?}");
        wire.set(fault);
        match dice.below(5) {
            0 => restart(&mut postgres, &mut dice),
            1 => restart(&mut nats, &mut dice),
            2 => {
                println!("logic is killed");
                logic.kill();
                logic.up();
            }
            3 => wees.iter_mut().take(1).for_each(again),
            _ => wires[dice.below(3) as usize].set(faults[dice.below(5) as usize]),
        }
        std::thread::sleep(time);
        wires.iter().for_each(|wire| wire.set(Fault::Whole));
    }
    active(&logic);
    let over = finish(&logic, runs, LIMIT);
    honest(&logic, &mut fleet, &over);
}

fn restart(server: &mut Server, dice: &mut Dice) {
    println!("a server is killed");
    server.kill();
    std::thread::sleep(s(dice.below(10)));
    server.begin();
}

fn again(wee: &mut Wee) {
    println!("an execution environment is killed");
    wee.kill();
    wee.up();
}
