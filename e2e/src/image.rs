//! Worker images made for a test: shipped workers under another version, and a script that can be bad in many ways.

use crate::folder;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A folder that can be pushed.
#[derive(Debug, Clone)]
pub struct Image {
    pub folder: PathBuf,
    pub kind: String,
    pub version: String,
}

impl Image {
    /// The staged worker of that kind as another version. `drill` are the words that make it bad (see `drill` of the
    /// SDK); none: as good as the one that ships.
    pub fn shipped(at: &Path, kind: &str, version: &str, drill: &[&str]) -> Image {
        let staged = folder().join("workers").join(kind);
        let image = Image::folder(at, kind, version);
        copy(&staged, &image.folder);
        let path = image.folder.join("worker.toml");
        let text = fs::read_to_string(&path).unwrap();
        // Even a good one is told its version: the program would say the one it was built with.
        let mut words = vec![format!("sengu-worker-{kind}")];
        words.extend(["drill", "--version", version].map(str::to_owned));
        words.extend(drill.iter().map(|word| (*word).to_owned()));
        let mut head = true;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                head &= !line.starts_with('[');
                match line.split(" = ").next() {
                    Some("version") if head => format!("version = \"{version}\""),
                    Some("command") if head => format!("command = {words:?}"),
                    _ => line.to_owned(),
                }
            })
            .collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        image
    }

    /// A script of a few lines that drives nothing and behaves as `manner` says: `good`, or one of those in SCRIPT.
    pub fn script(at: &Path, kind: &str, version: &str, manner: &str) -> Image {
        let image = Image::folder(at, kind, version);
        let manifest = MANIFEST
            .replace("KIND", kind)
            .replace("VERSION", version)
            .replace("MANNER", manner);
        fs::write(image.folder.join("worker.toml"), manifest).unwrap();
        let program = image.folder.join("toy.py");
        fs::write(&program, SCRIPT).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        image
    }

    fn folder(at: &Path, kind: &str, version: &str) -> Image {
        let folder = at.join(format!("{kind}-{version}"));
        fs::create_dir_all(&folder).unwrap();
        Image {
            folder,
            kind: kind.to_owned(),
            version: version.to_owned(),
        }
    }

    /// `kind@version`
    pub fn name(&self) -> String {
        format!("{}@{}", self.kind, self.version)
    }

    /// Adds a file of that many bytes which no compression and no other image shares.
    pub fn padded(self, bytes: usize) -> Image {
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15 ^ bytes as u64;
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
        }
        fs::write(self.folder.join("padding"), content).unwrap();
        self
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

const MANIFEST: &str = r#"name = "KIND"
version = "VERSION"
description = "Drives nothing, in a manner of its own."
protocol = 1
command = ["toy.py", "KIND", "VERSION", "MANNER"]
slots = 16

[target]
address = "any text"

[limits]
sessions = 16

[pool]
warm = 0
max = 1

[resources]
memory_mb = 64

[[action]]
name = "observe"
effect = "read"
timeout_ms = 10_000

[[action]]
name = "once"
effect = "once"
timeout_ms = 20_000
params = { type = "object", additionalProperties = false, properties = { sleep_ms = { type = "integer", minimum = 0 } } }
"#;

const SCRIPT: &str = r#"#!/usr/bin/env python3
import json, sys, threading, time
kind, version, manner = sys.argv[1:4]

def say(**frame):
    sys.stdout.write(json.dumps(frame) + "\n")
    sys.stdout.flush()

def beat():
    while True:
        time.sleep(4)
        say(type="beat")

def leak():
    hoard = []
    while True:
        hoard.append(b"x" * (4 << 20))

def run(task):
    if manner == "leak":
        leak()
    if manner == "slow":
        time.sleep(0.4)
    if task["action"] == "once":
        time.sleep(task["params"].get("sleep_ms", 0) / 1000)
    if manner == "garbage":
        sys.stdout.write("no frame at all\n")
        sys.stdout.flush()
    outcome = {"status": "done"}
    if manner == "fail":
        outcome = {"status": "failed", "code": "bad_reply", "message": "made to fail"}
    else:
        say(type="reading", id=task["id"], readings=[{"name": "toy_up", "value": 1, "unit": "1"}],
            facts={"vendor": "toy", "firmware": "1"})
    say(type="outcome", id=task["id"], fence=task["fence"], outcome=outcome)

if manner == "crash":
    sys.exit("no such library")
if manner == "hang":
    time.sleep(1000)
if manner == "liar":
    version = "9.9.9"
say(type="hello", protocol=1, worker=kind, version=version, slots=16)
threading.Thread(target=beat, daemon=True).start()
for line in sys.stdin:
    frame = json.loads(line)
    if frame["type"] == "task":
        threading.Thread(target=run, args=(frame,), daemon=True).start()
    elif frame["type"] == "drain":
        break
"#;
