//! What people do at the console, in a browser that nobody here wrote: the jobs are in `console/e2e`, this gives them a
//! sengu and a fleet.

use crate::release::bad_driver;
use sengu_e2e::{Fleet, Instance, fleet, folder, s, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Three racks of BMCs, some with the firmware that version 1.5.0 fails on.
const BMCS: u32 = 60;
const ECHOES: u32 = 40;

#[test]
fn people_do_the_main_job_of_every_page_in_a_browser() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("redfish", BMCS, &["--label", "site=hall-1"]);
    fleet.apply(&sengu);
    sengu.api.yaml(&fleet::echo(ECHOES)).expect(200);
    // Facts and readings are there.
    sengu.observe_all("redfish", s(30));
    bad_driver(&sengu);

    let target = folder().parent().unwrap().to_owned();
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console");
    let mut jobs = Command::new(node(&target));
    jobs.arg("e2e/main.mjs")
        .current_dir(&console)
        .env("SENGU_DATA", &sengu.data)
        .env("SENGU_PROGRAM", folder().join("sengu"))
        .env("SENGU_E2E_OUT", target.join("console-e2e"))
        .stdin(Stdio::null());
    let mut jobs = Jobs(jobs.spawn().expect("node starts"));
    let status = until("the jobs are done", s(280), || jobs.0.try_wait().unwrap());
    let pictures = target.join("console-e2e");
    assert!(
        status.success(),
        "what went wrong is in {}",
        pictures.display()
    );
}

/// The browser ends with the program that started it.
struct Jobs(Child);

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The Node that `cargo xtask test` has found or installed.
fn node(target: &Path) -> std::path::PathBuf {
    let node = target.join("test-node");
    assert!(
        node.exists(),
        "{} is missing: run `cargo xtask test`",
        node.display()
    );
    node
}
