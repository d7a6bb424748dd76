//! A worker of the bench's own, and who listens to it: every execution is told over TCP to the target's address before
//! its outcome is, so that what happened to a target is counted there and not where sengu counts it. It must never
//! answer, delay or forget: what is told is kept as it came.

mod worker;

pub use worker::run;

use crate::server::Server;
use crate::targets;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The kind of the worker and of its targets.
pub const KIND: &str = "witness";
/// The argument by which this program is the worker.
pub const VERB: &str = "witness";
/// Slots of an instance; two instances of a version at most.
pub const SLOTS: u32 = 512;

/// What one instance of one version told of one execution.
#[derive(Debug, Clone)]
pub struct Execution {
    pub version: String,
    pub target: String,
}

/// Who is told.
#[derive(Debug)]
pub struct Listener {
    pub address: SocketAddr,
    told: Arc<Mutex<HashMap<String, Vec<Execution>>>>,
}

impl Listener {
    pub fn start() -> Result<Listener> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for the witness")?;
        let address = listener.local_addr()?;
        let told = Arc::new(Mutex::new(HashMap::new()));
        let kept = told.clone();
        // Ends with the program: nothing waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || listen(stream, &kept));
            }
        });
        Ok(Listener { address, told })
    }

    /// Everything told so far, by task.
    pub fn told(&self) -> HashMap<String, Vec<Execution>> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Different targets that a version has touched.
    pub fn met(&self, version: &str) -> usize {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of = told.values().flatten().filter(|e| e.version == version);
        of.map(|e| e.target.as_str())
            .collect::<HashSet<&str>>()
            .len()
    }

    pub fn forget(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clear();
    }
}

/// One line per execution: version, task, target.
fn listen(stream: TcpStream, kept: &Mutex<HashMap<String, Vec<Execution>>>) {
    for line in BufReader::with_capacity(64 << 10, stream)
        .lines()
        .map_while(Result::ok)
    {
        let mut parts = line.split(' ').map(str::to_owned);
        let (Some(version), Some(task), Some(target)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let execution = Execution { version, target };
        let mut told = kept.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(task).or_default().push(execution);
    }
}

/// Applies `count` targets of it, all of them the listener.
pub fn apply(server: &Server, count: usize, listener: &Listener) -> Result<()> {
    let spec = json!({"kind": KIND, "address": listener.address.to_string()});
    let records: Vec<Value> = (0..count)
        .map(|n| targets::target(&targets::name(n), &spec))
        .collect();
    targets::apply(server, &records)
}

/// How a version of the witness ends its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Good,
    /// Every task fails.
    Bad,
}

/// Writes the image of a version into a new folder below `folder` and gives its path. The program is this one.
pub fn image(folder: &Path, version: &str, conduct: Conduct) -> Result<PathBuf> {
    let image = folder.join(format!("{KIND}-{version}"));
    std::fs::create_dir_all(&image).with_context(|| format!("make {}", image.display()))?;
    let program = std::env::current_exe().context("find this program")?;
    std::fs::copy(program, image.join("sengu-bench")).context("copy this program")?;
    let bad = match conduct {
        Conduct::Good => "",
        Conduct::Bad => ", \"bad\"",
    };
    let manifest = format!(
        "name = \"{KIND}\"\nversion = \"{version}\"\nprotocol = 1\n\
         description = \"Tells every execution to its target's address.\"\n\
         command = [\"sengu-bench\", \"{VERB}\", \"{version}\"{bad}]\nslots = {SLOTS}\n\
         [target]\naddress = \"host:port\"\n[limits]\nsessions = 64\n\
         [pool]\nwarm = 0\nmax = 2\nidle_ms = 60_000\n"
    );
    let action = |name: &str, effect: &str| {
        format!(
            "[[action]]\nname = \"{name}\"\neffect = \"{effect}\"\ntimeout_ms = 30_000\n\
             params = {{ type = \"object\", additionalProperties = false, \
             properties = {{ sleep_ms = {{ type = \"integer\", minimum = 0, maximum = 20_000 }} }} }}\n"
        )
    };
    let manifest = manifest + &action("observe", "read") + &action("once", "once");
    std::fs::write(image.join("worker.toml"), manifest).context("write worker.toml")?;
    Ok(image)
}
