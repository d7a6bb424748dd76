//! What a played host is and how it answers a command: values only, no network.

use crate::command::{self, FILE_GET, FILE_PUT, GUARD, OBSERVE, PACKAGE_SET, SERVICE_SET};
use crate::words::split;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const FILES_MAX: usize = 1_000;
const FILE_BYTES_MAX: usize = 1 << 20;
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// What a host looks like from outside: (os id, version, pretty name, kernel, vendor, model).
const LOOKS: [[&str; 6]; 3] = [
    [
        "debian",
        "12",
        "Debian GNU/Linux 12 (bookworm)",
        "6.1.0-28-amd64",
        "Dell Inc.",
        "PowerEdge R650",
    ],
    [
        "ubuntu",
        "24.04",
        "Ubuntu 24.04.1 LTS",
        "6.8.0-49-generic",
        "HPE",
        "ProLiant DL360 Gen11",
    ],
    [
        "rocky",
        "9.4",
        "Rocky Linux 9.4 (Blue Onyx)",
        "5.14.0-427.42.1.el9_4.x86_64",
        "Supermicro",
        "SYS-621P-TRT",
    ],
];

pub struct Machine {
    pub name: String,
    random: u64,
    index: u32,
    started: Instant,
    boots: u32,
    files: BTreeMap<String, File>,
    units: BTreeMap<String, Unit>,
    packages: BTreeMap<String, String>,
}

#[derive(Clone)]
struct File {
    content: Vec<u8>,
    mode: String,
    owner: String,
    group: String,
}

struct Unit {
    active: bool,
    enabled: bool,
}

pub enum Ending {
    Exit(u32),
    SleepThenExit(Duration, u32),
    Killed,
}

pub struct Answer {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub ending: Ending,
    /// What took place on the host, for the report.
    pub effect: Option<String>,
    /// The caller's command, for `exec`.
    pub command: Option<String>,
}

impl Answer {
    fn exit(code: u32) -> Answer {
        Answer {
            stdout: Vec::new(),
            stderr: Vec::new(),
            ending: Ending::Exit(code),
            effect: None,
            command: None,
        }
    }

    fn out(text: impl Into<Vec<u8>>) -> Answer {
        Answer {
            stdout: text.into(),
            ..Answer::exit(0)
        }
    }

    fn err(code: u32, text: impl Into<Vec<u8>>) -> Answer {
        Answer {
            stderr: text.into(),
            ..Answer::exit(code)
        }
    }

    fn effect(mut self, name: impl Into<String>) -> Answer {
        self.effect = Some(name.into());
        self
    }
}

fn mix(mut z: u64) -> u64 {
    // splitmix64: the same seed gives the same fleet.
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Machine {
    pub fn new(name: &str, seed: u64, index: u32) -> Machine {
        let unit = |active, enabled| Unit { active, enabled };
        Machine {
            name: name.to_owned(),
            random: mix(seed ^ (u64::from(index) << 32)),
            index,
            started: Instant::now(),
            boots: 0,
            files: BTreeMap::new(),
            units: BTreeMap::from([
                ("sshd.service".to_owned(), unit(true, true)),
                ("chronyd.service".to_owned(), unit(true, true)),
                ("nginx.service".to_owned(), unit(false, false)),
                ("node_exporter.service".to_owned(), unit(true, false)),
            ]),
            packages: BTreeMap::from([
                ("openssh-server".to_owned(), "1:9.2p1-2".to_owned()),
                ("curl".to_owned(), "7.88.1-10".to_owned()),
            ]),
        }
    }

    /// Whether the command reads what is sent to it.
    pub fn wants_stdin(line: &str) -> bool {
        let words = split(line).unwrap_or_default();
        match command::script_of(&words) {
            Some((script, args)) if *script == **GUARD => {
                args.get(3).is_some_and(|c| c.trim() == "cat")
            }
            Some((script, _)) => *script == **FILE_PUT || script.trim() == "cat",
            None => line.trim() == "cat",
        }
    }

    /// Runs a command line as the worker (or anybody) sends it.
    pub fn run(&mut self, line: &str, stdin: &[u8]) -> Answer {
        let words = split(line).unwrap_or_default();
        let Some((script, args)) = command::script_of(&words) else {
            return self.exec(line, stdin);
        };
        let arg = |n: usize| args.get(n).map(String::as_str).unwrap_or_default();
        match script {
            s if *s == **OBSERVE => Answer::out(self.observed()),
            s if *s == **FILE_PUT => {
                self.file_put(&[arg(0), arg(1), arg(2), arg(3), arg(4)], stdin)
            }
            s if *s == **FILE_GET => self.file_get(arg(0), arg(1)),
            s if *s == **SERVICE_SET => self.service_set(arg(0), arg(1), arg(2)),
            s if *s == **PACKAGE_SET => self.package_set(arg(0), arg(1), arg(2)),
            s if *s == **GUARD => {
                if self.files.contains_key(arg(1)) {
                    return Answer::err(0, format!("{} creates\n", arg(0)));
                }
                let unless = arg(2).to_owned();
                if !unless.is_empty() && matches!(self.simple(&unless, b"").ending, Ending::Exit(0))
                {
                    return Answer::err(0, format!("{} unless\n", arg(0)));
                }
                let command = arg(3).to_owned();
                self.exec(&command, stdin)
            }
            command => {
                let command = command.to_owned();
                self.exec(&command, stdin)
            }
        }
    }

    /// A command of the caller: several simple ones joined by `;` or `&&`.
    fn exec(&mut self, line: &str, stdin: &[u8]) -> Answer {
        let mut whole = Answer::exit(0);
        let mut slept = Duration::ZERO;
        for part in line.split(['\n', ';']).flat_map(|p| p.split("&&")) {
            if part.trim().is_empty() {
                continue;
            }
            let one = self.simple(part, stdin);
            whole.stdout.extend(one.stdout);
            whole.stderr.extend(one.stderr);
            whole.ending = match one.ending {
                Ending::SleepThenExit(time, code) => {
                    slept += time;
                    Ending::Exit(code)
                }
                ending => ending,
            };
            let ended = part.trim().starts_with("exit");
            if ended || !matches!(whole.ending, Ending::Exit(0)) {
                break;
            }
        }
        if let Ending::Exit(code) = whole.ending
            && slept > Duration::ZERO
        {
            whole.ending = Ending::SleepThenExit(slept.min(SLEEP_MAX), code);
        }
        whole.effect = Some("exec".to_owned());
        whole.command = Some(line.trim().to_owned());
        whole
    }

    fn simple(&mut self, line: &str, stdin: &[u8]) -> Answer {
        let Some(words) = split(line) else {
            return Answer::err(2, "sh: 1: Syntax error: Unterminated quoted string\n");
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [program, args @ ..] = &words[..] else {
            return Answer::exit(0);
        };
        let [id, version, _, kernel, ..] = self.looks();
        match (*program, args) {
            ("true" | ":", _) => Answer::exit(0),
            ("false", _) => Answer::exit(1),
            ("exit", [code]) => Answer::exit(code.parse().unwrap_or(2)),
            ("echo", [text @ .., ">", path]) => self.write(path, text, false),
            ("echo", [text @ .., ">>", path]) => self.write(path, text, true),
            ("echo", text) => Answer::out(format!("{}\n", text.join(" "))),
            ("sleep", [time]) => {
                let seconds = time.parse::<f64>().unwrap_or(0.0).clamp(0.0, 86_400.0);
                Answer {
                    ending: Ending::SleepThenExit(Duration::from_secs_f64(seconds), 0),
                    ..Answer::exit(0)
                }
            }
            ("cat", []) => Answer::out(stdin),
            ("cat", [path]) => match self.files.get(*path) {
                Some(file) => Answer::out(file.content.clone()),
                None => Answer::err(1, format!("cat: {path}: No such file or directory\n")),
            },
            ("test" | "[", ["-e" | "-f", path, ..]) => {
                Answer::exit(u32::from(!self.files.contains_key(*path)))
            }
            ("touch", [path]) => self.write(path, &[], true),
            ("rm", [.., path]) => {
                self.files.remove(*path);
                Answer::exit(0)
            }
            ("hostname", _) => Answer::out(format!("{}\n", self.name)),
            ("uname", ["-r"]) => Answer::out(format!("{kernel}\n")),
            ("uname", _) => Answer::out(format!("Linux {} {kernel} x86_64\n", self.name)),
            ("id" | "whoami", _) => Answer::out("operator\n"),
            ("uptime", _) => {
                let up = self.uptime().as_secs();
                let [a, b, c] = self.load();
                let days = up / 86_400;
                Answer::out(format!(
                    " 12:00:00 up {days} days, 1 user, load average: {a:.2}, {b:.2}, {c:.2}\n"
                ))
            }
            ("lsb_release", _) => Answer::out(format!("{id} {version}\n")),
            ("reboot", _) | ("systemctl", ["reboot"]) => {
                self.boots += 1;
                self.started = Instant::now();
                Answer::exit(0)
            }
            ("systemctl", ["is-active", unit]) => match self.units.get(&unit_name(unit)) {
                Some(Unit { active: true, .. }) => Answer::out("active\n"),
                _ => Answer {
                    stdout: b"inactive\n".to_vec(),
                    ..Answer::exit(3)
                },
            },
            ("systemctl", ["restart" | "reload", unit]) => {
                match self.units.get_mut(&unit_name(unit)) {
                    Some(unit) => {
                        unit.active = true;
                        Answer::exit(0)
                    }
                    None => Answer::err(5, format!("Unit {unit} not found.\n")),
                }
            }
            _ => Answer::err(127, format!("sh: 1: {program}: not found\n")),
        }
    }

    fn write(&mut self, path: &str, words: &[&str], append: bool) -> Answer {
        if self.files.len() >= FILES_MAX {
            return Answer::err(1, "sh: No space left on device\n");
        }
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File {
            content: Vec::new(),
            mode: "644".to_owned(),
            owner: "operator".to_owned(),
            group: "operator".to_owned(),
        });
        if !append {
            file.content.clear();
        }
        if !words.is_empty() && file.content.len() < FILE_BYTES_MAX {
            file.content
                .extend(format!("{}\n", words.join(" ")).into_bytes());
        }
        Answer::exit(0)
    }

    fn looks(&self) -> [&'static str; 6] {
        LOOKS[(self.random % LOOKS.len() as u64) as usize]
    }

    fn uptime(&self) -> Duration {
        let before = if self.boots == 0 {
            3_600 + self.random % 8_640_000
        } else {
            20
        };
        Duration::from_secs(before) + self.started.elapsed()
    }

    /// Moves slowly, so that a graph of it looks like a host.
    fn load(&self) -> [f64; 3] {
        let time = self.started.elapsed().as_secs_f64() / 60.0;
        let phase = (self.random >> 8 & 0xFF) as f64 / 40.0;
        let base = (self.random >> 16 & 0xFF) as f64 / 64.0;
        let now = base * (1.0 + 0.5 * (time + phase).sin());
        [now, base * 1.05, base]
    }

    fn observed(&self) -> String {
        let [id, version, pretty, kernel, vendor, model] = self.looks();
        let r = self.random;
        let boot = hex(&Sha256::digest(format!("{r} {}", self.boots)));
        let part = |from: usize, to: usize| boot.get(from..to).unwrap_or_default();
        let up = self.uptime().as_secs_f64();
        let [a, b, c] = self.load();
        let cpus = 16 << (r >> 24 & 3);
        let memory = (64 << 20) << (r >> 26 & 3);
        let available = memory / 100 * (30 + (r >> 32) % 60);
        let disk = 468_000_000_u64;
        let free = disk / 100 * (20 + (r >> 40) % 70);
        let (x, y) = (self.index / 250 % 250, self.index % 250 + 1);
        let mut text = String::new();
        let _ = write!(
            text,
            "@@begin\n@@uname\nLinux {kernel} x86_64\n@@hostname\n{}\n@@boot_id\n{}-{}-{}-{}-{}\n\
             @@uptime\n{up:.2} {:.2}\n@@loadavg\n{a:.2} {b:.2} {c:.2} 1/900 4242\n@@cpus\n{cpus}\n\
             @@meminfo\nMemTotal: {memory} kB\nMemAvailable: {available} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n\
             @@os\nID={id}\nVERSION_ID=\"{version}\"\nPRETTY_NAME=\"{pretty}\"\n@@dmi\n{vendor}\n{model}\n\
             @@addresses\n10.64.{x}.{y}\n@@gpu\n@@df\n\
             Filesystem 1024-blocks Used Available Capacity Mounted on\n\
             /dev/sda2 {disk} {} {free} 50% /\n@@end\n",
            self.name,
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
            up * 0.9,
            disk - free,
        );
        text
    }

    fn file_put(&mut self, args: &[&str; 5], stdin: &[u8]) -> Answer {
        let [path, digest, mode, owner, group] = *args;
        let told = hex(&Sha256::digest(stdin));
        let line = |file: &File| {
            let sum = hex(&Sha256::digest(&file.content));
            format!("{sum} {} {} {}", file.mode, file.owner, file.group)
        };
        let known = self.files.get(path);
        let before = known.map_or("-".to_owned(), line);
        if told != digest {
            let text = format!("@@before {before}\n@@short {told}\n");
            return Answer {
                stdout: text.into(),
                ..Answer::exit(4)
            };
        }
        if self.files.len() >= FILES_MAX || stdin.len() > FILE_BYTES_MAX {
            return Answer::out(format!("@@before {before}\n@@refused no space left\n"));
        }
        let or = |given: &str, was: Option<&String>, new: &str| match (given, was) {
            ("", Some(was)) => was.clone(),
            ("", None) => new.to_owned(),
            (given, _) => given.to_owned(),
        };
        let file = File {
            content: stdin.to_vec(),
            mode: or(mode, known.map(|f| &f.mode), "644"),
            owner: or(owner, known.map(|f| &f.owner), "operator"),
            group: or(group, known.map(|f| &f.group), "operator"),
        };
        let after = line(&file);
        let changed = before != after;
        self.files.insert(path.to_owned(), file);
        let word = if changed { "yes" } else { "no" };
        let answer = Answer::out(format!(
            "@@before {before}\n@@after {after}\n@@changed {word}\n"
        ));
        if changed {
            answer.effect("file.put")
        } else {
            answer
        }
    }

    fn file_get(&self, path: &str, most: &str) -> Answer {
        let refused = |why: String| Answer {
            stdout: format!("@@refused {why}\n").into(),
            ..Answer::exit(3)
        };
        let Some(file) = self.files.get(path) else {
            return refused(format!("no such file: {path}"));
        };
        let bytes = file.content.len();
        if most.parse::<usize>().is_ok_and(|most| bytes > most) {
            return refused(format!("{path} has {bytes} bytes, over maxBytes {most}"));
        }
        let head = format!(
            "@@file {bytes} {} {} {}\n",
            file.mode, file.owner, file.group
        );
        Answer::out([head.as_bytes(), &file.content].concat())
    }

    fn service_set(&mut self, name: &str, state: &str, enabled: &str) -> Answer {
        let show = |unit: Option<&Unit>| match unit {
            Some(unit) => {
                let (active, sub) = match unit.active {
                    true => ("active", "running"),
                    false => ("inactive", "dead"),
                };
                let file = if unit.enabled { "enabled" } else { "disabled" };
                format!(
                    "Result=success\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState={file}\n"
                )
            }
            None => "LoadState=not-found\nActiveState=inactive\nSubState=dead\n".to_owned(),
        };
        let unit = self.units.get_mut(&unit_name(name));
        let before = show(unit.as_deref());
        let Some(unit) = unit else {
            let text = format!("@@before\n{before}@@refused no unit named {name}\n");
            return Answer {
                stdout: text.into(),
                ..Answer::exit(3)
            };
        };
        let mut effects = Vec::new();
        let wanted = matches!(state, "started");
        if !state.is_empty() && unit.active != wanted {
            unit.active = wanted;
            effects.push(if wanted {
                "service.start"
            } else {
                "service.stop"
            });
        }
        let wanted = matches!(enabled, "enabled");
        if !enabled.is_empty() && unit.enabled != wanted {
            unit.enabled = wanted;
            effects.push(if wanted {
                "service.enable"
            } else {
                "service.disable"
            });
        }
        let after = show(Some(unit));
        let answer = Answer::out(format!("@@before\n{before}@@after\n{after}"));
        match effects.first() {
            Some(effect) => answer.effect(*effect),
            None => answer,
        }
    }

    fn package_set(&mut self, name: &str, state: &str, version: &str) -> Answer {
        let before = self.packages.get(name).cloned();
        let shown = |v: &Option<String>| v.clone().unwrap_or("-".to_owned());
        let effect = match (state, &before) {
            ("absent", None) => None,
            ("absent", Some(_)) => {
                self.packages.remove(name);
                Some("package.remove")
            }
            (_, Some(v)) if version.is_empty() || v == version => None,
            _ => {
                if name.starts_with("no-such") || self.packages.len() >= FILES_MAX {
                    return Answer {
                        stdout: b"@@before -\n@@after -\n@@changed yes\n".to_vec(),
                        ..Answer::err(100, format!("E: Unable to locate package {name}\n"))
                    };
                }
                let version = if version.is_empty() { "1.0-1" } else { version };
                self.packages.insert(name.to_owned(), version.to_owned());
                Some("package.install")
            }
        };
        let after = self.packages.get(name).cloned();
        let word = if effect.is_some() { "yes" } else { "no" };
        let answer = Answer::out(format!(
            "@@before {}\n@@after {}\n@@changed {word}\n",
            shown(&before),
            shown(&after)
        ));
        match effect {
            Some(effect) => answer.effect(effect),
            None => answer,
        }
    }
}

fn unit_name(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::observe::parse;
    use crate::command::{RemoteLimit, Sudo, line};

    #[test]
    fn the_worker_understands_a_played_host() {
        let mut machine = Machine::new("twin-7", 1, 7);
        let command = line(&OBSERVE, &[], RemoteLimit::Seconds(5), Sudo::Yes);
        let answer = machine.run(&command, b"");
        let (readings, facts) = parse(&String::from_utf8(answer.stdout).unwrap());
        assert_eq!(facts["hostname"], "twin-7");
        assert!(
            LOOKS
                .iter()
                .any(|l| facts["os"] == l[0] && facts["kernel"] == l[3])
        );
        assert!(readings.iter().any(|r| r.name == "filesystem_avail_bytes"));
        assert!(readings.iter().any(|r| r.name == "memory_available_bytes"));
        assert!(answer.effect.is_none());
    }

    #[test]
    fn simple_commands_answer_as_a_shell_would() {
        let mut machine = Machine::new("h", 1, 1);
        let table = [
            ("true", 0, ""),
            ("false", 1, ""),
            ("exit 7; echo no", 7, ""),
            ("echo a  'b  c' && echo d", 0, "a b  c\nd\n"),
            ("false && echo no", 1, ""),
            ("echo x > /f; echo y >> /f; cat /f", 0, "x\ny\n"),
            ("cat /none", 1, ""),
            ("hostname", 0, "h\n"),
            ("frobnicate", 127, ""),
            ("echo 'open", 2, ""),
            ("systemctl is-active nginx", 3, "inactive\n"),
        ];
        for (command, code, stdout) in table {
            let answer = machine.run(command, b"");
            assert!(
                matches!(answer.ending, Ending::Exit(c) if c == code),
                "{command}"
            );
            assert_eq!(String::from_utf8_lossy(&answer.stdout), stdout, "{command}");
            assert_eq!(answer.effect.as_deref(), Some("exec"));
        }
        let slept = machine.run("sleep 2; exit 3", b"");
        assert!(matches!(slept.ending, Ending::SleepThenExit(t, 3) if t.as_secs() == 2));
    }
}
