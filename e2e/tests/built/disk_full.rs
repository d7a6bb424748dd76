//! A full disk: refused with a code and a hint, nothing acknowledged is lost, and work goes on when there is space.

use sengu_e2e::{Instance, Reply, fleet, json, s, until};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// A data directory whose disk can be filled.
pub enum Disk {
    /// A small file system of its own, mounted there.
    Mounted(PathBuf),
    /// For who may not mount: files of the process may not grow, which it meets as it meets a full disk.
    Limited,
}

impl Disk {
    pub fn give(sengu: &mut Instance) -> Disk {
        let at = sengu.beside("disk");
        fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m,mode=700", "sengu-e2e"]);
        if mount.arg(&at).output().is_ok_and(|o| o.status.success()) {
            sengu.data = at.join("data");
            return Disk::Mounted(at);
        }
        println!("no right to mount: a limit of file sizes stands in");
        // Without this the first write beyond the limit would end the process.
        sengu.wrapper = ["env", "--ignore-signal=XFSZ"].map(String::from).to_vec();
        Disk::Limited
    }

    fn fill(&self, sengu: &Instance) {
        self.fill_but(sengu, 0);
    }

    /// Leaves about so many bytes.
    pub fn fill_but(&self, sengu: &Instance, left: u64) {
        match self {
            Disk::Mounted(at) => {
                let mut file = fs::File::create(at.join("filler")).unwrap();
                while file.write_all(&[7; 4096]).is_ok() {}
                let length = file.metadata().unwrap().len();
                file.set_len(length.saturating_sub(left)).unwrap();
            }
            Disk::Limited => limit(sengu, &format!("{}:", left.max(4096))),
        }
    }

    pub fn free(&self, sengu: &Instance) {
        match self {
            Disk::Mounted(at) => fs::remove_file(at.join("filler")).unwrap(),
            Disk::Limited => limit(sengu, "unlimited:"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Mounted(at) = self {
            let _ = Command::new("umount").arg("--lazy").arg(at).output();
        }
    }
}

fn limit(sengu: &Instance, size: &str) {
    let pid = sengu.pid().to_string();
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &pid, &format!("--fsize={size}")]);
    assert!(prlimit.status().unwrap().success());
}

fn refused_for_space(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["code"], "store_unavailable", "{problem}");
    let hint = problem["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("disk"), "{problem}");
    assert!(!reply.header("retry-after").is_empty());
}

fn target(name: &str) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}}}\n\
         spec: {{kind: echo, address: x}}\n"
    )
}

#[test]
fn a_full_disk_is_told_as_such_and_work_goes_on_when_there_is_space_again() {
    let mut sengu = Instance::prepare();
    let disk = Disk::give(&mut sengu);
    sengu.up();
    let api = &sengu.api;
    api.yaml(&fleet::echo(100)).expect(200);
    disk.fill(&sengu);
    // What is left in the log of the store may take a few more.
    let mut acknowledged = 0;
    let refusal = until("the disk is full", s(30), || {
        let name = |n| target(&format!("t-{acknowledged}-{n}")) + "---\n";
        let reply = api.yaml(&(0..50).map(name).collect::<String>());
        let taken = reply.status == 200;
        acknowledged += u64::from(taken);
        (!taken).then_some(reply)
    });
    refused_for_space(&refusal);
    let spec = json!({"action": "noop", "selector": "name~echo-*"});
    refused_for_space(&api.post("/v1/runs", &spec));
    let task = json!({"targets": ["echo-0001"], "action": "noop"});
    refused_for_space(&api.post("/v1/tasks", &task));
    // What is there can still be read, and what was refused is not there.
    let total = api.get("/v1/top")["targets"]["total"].as_u64().unwrap();
    assert_eq!(total, 100 + acknowledged * 50);
    assert_eq!(api.get("/v1/records/Run")["items"], json!([]));
    assert_eq!(api.call("GET", "/healthz", &[], b"").status, 200);
    let ran = sengu.cli(&["run", "noop", "echo-0001", "-y"]).expect(4);
    assert!(ran.stderr.contains("store_unavailable"), "{}", ran.stderr);

    disk.free(&sengu);
    // Without a restart.
    until("writes are taken again", s(15), || {
        (api.yaml(&target("after")).status == 200).then_some(())
    });
    let run = sengu.run(&spec);
    assert_eq!(sengu.over(&run, s(20))["status"]["counts"]["done"], 100);
    // Nothing acknowledged was lost, in this life or the next.
    sengu.kill();
    sengu.up();
    let total = sengu.api.get("/v1/top")["targets"]["total"].as_u64();
    assert_eq!(total, Some(101 + acknowledged * 50));
    let again = sengu.api.get(&format!("/v1/runs/{run}"));
    assert_eq!(again["status"]["phase"], "Succeeded", "{again}");
    drop(sengu);
}

#[test]
fn outcomes_that_find_the_disk_full_are_kept_until_there_is_space() {
    let mut sengu = Instance::prepare();
    let disk = Disk::give(&mut sengu);
    sengu.up();
    sengu.api.yaml(&fleet::echo(40)).expect(200);
    let params = json!({"sleep_ms": 8_000});
    let run = sengu.run(&json!({"action": "once", "params": params, "selector": "kind=echo"}));
    until("the tasks are in hand", s(10), || {
        (sengu.api.get("/v1/top")["tasks"]["started"] == 40).then_some(())
    });
    disk.fill(&sengu);
    until("the store refuses", s(10), || {
        let log = fs::read_to_string(&sengu.log).unwrap_or_default();
        log.contains("outcomes cannot be stored").then_some(())
    });
    // A target whose outcome is not durable is not free, and its run not over.
    let standing = sengu.api.get(&format!("/v1/runs/{run}"));
    assert_eq!(standing["status"]["phase"], "Running", "{standing}");
    disk.free(&sengu);
    let over = sengu.over(&run, s(30));
    assert_eq!(over["status"]["counts"]["done"], 40, "{over}");
    drop(sengu);
}
