//! A PostgreSQL that fails over to another server, under roles in processes of their own. The twins count what really
//! happened.

use crate::kills::RUNS;
use crate::wires::through;
use sengu_e2e::servers::Server;
use std::cell::RefCell;

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
