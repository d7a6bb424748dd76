//! A full disk: refused with a code and a hint, nothing acknowledged is lost, and work goes on when there is space.

use sengu_e2e::{Instance, Reply, fleet, json, s, until};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const DISK: &str = "12m";

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    /// None when this user may not mount.
    fn mount(at: &Path) -> Option<Small> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={DISK},mode=700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "sengu-e2e"])
            .arg(at);
        mount
            .output()
            .is_ok_and(|o| o.status.success())
            .then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn refused_for_space(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["code"], "store_unavailable", "{problem}");
    assert!(
        problem["hint"].as_str().is_some_and(|h| h.contains("disk")),
        "{problem}"
    );
    assert!(!reply.header("retry-after").is_empty());
}

fn target(name: &str) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}}}\nspec: {{kind: echo, address: x}}\n"
    )
}

#[test]
fn a_full_disk_is_told_as_such_and_work_goes_on_when_there_is_space_again() {
    let mut sengu = Instance::prepare();
    let disk = sengu.beside("disk");
    let small = Small::mount(&disk);
    // Without the right to mount: files may not grow beyond a size, which the store meets as a full disk.
    if small.is_none() {
        println!("no mount: the limit of file sizes stands in");
        sengu.wrapper = ["prlimit", "--fsize=4194304:unlimited", "--"]
            .map(String::from)
            .to_vec();
    } else {
        sengu.data = disk.join("data");
    }
    sengu.up();
    let api = &sengu.api;
    api.yaml(&fleet::echo(100)).expect(200);

    let filler = disk.join("filler");
    let mut acknowledged = 0;
    if small.is_some() {
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }
    let refusal = until("the disk is full", s(30), || {
        let set: String = (0..50)
            .map(|n| target(&format!("t-{acknowledged}-{n}")) + "---\n")
            .collect();
        let reply = api.yaml(&set);
        if reply.status == 200 {
            acknowledged += 1;
            return None;
        }
        Some(reply)
    });
    refused_for_space(&refusal);
    refused_for_space(&api.post(
        "/v1/runs",
        &json!({"action": "noop", "selector": "name~echo-*"}),
    ));
    refused_for_space(&api.post(
        "/v1/tasks",
        &json!({"targets": ["echo-0001"], "action": "noop"}),
    ));
    // What is there can still be read, and what was refused is not there.
    let total = api.get("/v1/top")["targets"]["total"].as_u64().unwrap();
    assert_eq!(total, 100 + acknowledged * 50);
    assert_eq!(api.get("/v1/records/Run")["items"], json!([]));
    assert_eq!(api.call("GET", "/healthz", &[], b"").status, 200);
    let ran = sengu.cli(&["run", "noop", "echo-0001", "-y"]).expect(4);
    assert!(ran.stderr.contains("store_unavailable"), "{}", ran.stderr);

    if small.is_some() {
        fs::remove_file(&filler).unwrap();
    } else {
        let pid = sengu.pid().to_string();
        let freed = Command::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited:unlimited"])
            .status();
        assert!(freed.unwrap().success());
    }
    // Without a restart.
    until("writes are taken again", s(15), || {
        (api.yaml(&target("after")).status == 200).then_some(())
    });
    let run = sengu.run(&json!({"action": "noop", "selector": "name~echo-*"}));
    assert_eq!(sengu.over(&run, s(20))["status"]["counts"]["done"], 100);
    // Nothing acknowledged was lost, in this life or the next.
    sengu.kill();
    sengu.up();
    let total = sengu.api.get("/v1/top")["targets"]["total"]
        .as_u64()
        .unwrap();
    assert_eq!(total, 101 + acknowledged * 50);
    let again = sengu.api.get(&format!("/v1/runs/{run}"));
    assert_eq!(again["status"]["phase"], "Succeeded", "{again}");
    drop(sengu);
}

#[test]
fn outcomes_that_find_the_disk_full_are_kept_until_there_is_space() {
    let mut sengu = Instance::prepare();
    let disk = sengu.beside("disk");
    let Some(_small) = Small::mount(&disk) else {
        println!("not run: this user may not mount a file system");
        return;
    };
    sengu.data = disk.join("data");
    sengu.up();
    sengu.api.yaml(&fleet::echo(40)).expect(200);
    let run = sengu
        .run(&json!({"action": "once", "params": {"sleep_ms": 1500}, "selector": "kind=echo"}));
    until("the tasks are in hand", s(10), || {
        (sengu.api.get("/v1/top")["tasks"]["started"] == 40).then_some(())
    });
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);
    // The outcomes come in while nothing can be written; a target whose outcome is not durable is not free.
    until("the store refuses", s(10), || {
        let log = fs::read_to_string(&sengu.log).unwrap_or_default();
        log.contains("disk").then_some(())
    });
    assert_eq!(
        sengu.api.get(&format!("/v1/runs/{run}"))["status"]["phase"],
        "Running"
    );
    fs::remove_file(&filler).unwrap();
    let over = sengu.over(&run, s(30));
    assert_eq!(over["status"]["counts"]["done"], 40, "{over}");
    drop(sengu);
}
