//! Execution environments in processes of their own, joined to an instance that has the logic role.

use crate::instance::{tail, workers_of};
use crate::process::{Process, descendants, signal};
use crate::{Instance, folder, until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const JOIN_MAX: Duration = Duration::from_secs(30);
const END_MAX: Duration = Duration::from_secs(20);

/// `sengu up --role execution`.
pub struct Wee {
    pub name: String,
    pub data: PathBuf,
    pub log: PathBuf,
    /// The program that is started.
    pub program: PathBuf,
    /// The join file or the data directory of logic.
    pub join: PathBuf,
    /// More words, such as `--zone`.
    pub arguments: Vec<String>,
    /// Words before the program.
    pub wrapper: Vec<String>,
    child: Option<Child>,
}

impl Wee {
    /// A place beside the data of `logic`; nothing runs yet.
    pub fn prepare(logic: &Instance, name: &str) -> Wee {
        Wee {
            name: name.to_owned(),
            data: logic.beside(name),
            log: logic.beside(&format!("{name}.log")),
            program: folder().join("sengu"),
            join: logic.data.clone(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            child: None,
        }
    }

    /// Starts one and waits until `logic` can use it.
    pub fn start(logic: &Instance, name: &str) -> Wee {
        let mut wee = Wee::prepare(logic, name);
        wee.up();
        wee.joined(logic);
        wee
    }

    /// It brings no worker of its own: all it runs comes over the interconnect.
    pub fn bare(mut self) -> Wee {
        let none = self.data.with_extension("no-workers");
        fs::create_dir_all(&none).unwrap();
        let none = none.display().to_string();
        self.arguments.extend(["--workers".to_owned(), none]);
        self
    }

    /// Joins by a socket of the machine, whatever the join file says.
    pub fn by_socket(mut self, logic: &Instance) -> Wee {
        let socket = logic.data.join("interconnect.sock");
        self.join = self.edited_join(logic, "url", &format!("unix://{}", socket.display()));
        self
    }

    /// A copy of the join file with one line changed.
    pub fn edited_join(&self, logic: &Instance, key: &str, value: &str) -> PathBuf {
        let text = fs::read_to_string(logic.data.join("join")).unwrap();
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some((k, _)) if k == key => format!("{key} = \"{value}\""),
            _ => line.to_owned(),
        });
        let path = self.data.with_extension("join");
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn up(&mut self) {
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(&self.log)
            .expect("a log file");
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            None => Command::new(&self.program),
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.program);
                command
            }
        };
        let child = command
            .args(["up", "--role", "execution", "--wee", &self.name])
            .arg("--join")
            .arg(&self.join)
            .arg("--data")
            .arg(&self.data)
            .args(&self.arguments)
            .env("SENGU_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sengu starts");
        self.child = Some(child);
    }

    /// Waits until `logic` hears of a life of it that can run something.
    pub fn joined(&mut self, logic: &Instance) -> Value {
        let what = format!("wee/{} has joined", self.name);
        let name = self.name.clone();
        until(&what, JOIN_MAX, || {
            if let Some(status) = self.child.as_mut()?.try_wait().ok()? {
                panic!("wee/{name} ended with {status}:\n{}", tail(&self.log));
            }
            let wee = logic.wee(&name)?;
            (!wee["pools"].as_array()?.is_empty()).then_some(wee)
        })
    }

    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the WEE runs").id()
    }

    pub fn workers(&self, kind: &str) -> Vec<Process> {
        workers_of(self.pid(), kind)
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the WEE runs");
        child.kill().expect("kill the WEE");
        child.wait().expect("the WEE is ours");
    }

    pub fn alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the WEE runs");
        until(&format!("wee/{} ends", self.name), limit, || {
            child.try_wait().expect("the WEE is ours")
        })
    }

    pub fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        self.ended(END_MAX)
    }

    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Wee {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let workers = descendants(child.id());
            let _ = child.kill();
            let _ = child.wait();
            for worker in workers {
                worker.kill();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of wee/{}\n{}", self.name, self.tail());
        }
    }
}

impl Instance {
    /// What the execution environments in touch say of themselves.
    pub fn wees(&self) -> Vec<Value> {
        let top = self.api.get("/v1/top");
        top["wees"].as_array().cloned().unwrap_or_default()
    }

    pub fn wee(&self, name: &str) -> Option<Value> {
        self.wees().into_iter().find(|w| w["name"] == name)
    }
}
