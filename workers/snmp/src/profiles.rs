//! The folder of profiles: read at start and again when it changes, so that a new device family needs no restart.
//!
//! A broken file is named and left out; it must never take another one down.

use crate::profile::{File, Profile, oid};
use async_snmp::Oid;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The folder is looked at this often at most, and only when a task comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files of one folder; more is a mistake.
const FILES_MAX: usize = 500;
/// One file, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// A profile that is ready to be used, with its includes.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub profile: Profile,
}

/// All profiles of one reading of the folder.
#[derive(Debug, Default)]
pub struct Set {
    plans: BTreeMap<String, Arc<Plan>>,
    /// `(sysObjectID prefix, profile)`.
    matches: Vec<(Oid, String)>,
    fallback: Option<String>,
    /// File name to what is wrong with it.
    pub broken: BTreeMap<String, String>,
    /// Counts the readings of the folder.
    pub generation: u64,
}

pub struct Folder {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    seen: Vec<(String, u64, Option<SystemTime>)>,
    set: Arc<Set>,
}

impl Folder {
    pub fn open(path: PathBuf) -> Folder {
        let seen = list(&path);
        let set = Arc::new(read(&path, &seen, 1));
        Folder {
            path,
            state: Mutex::new(State {
                looked: Instant::now(),
                seen,
                set,
            }),
        }
    }

    /// The profiles as they are now.
    pub fn current(&self) -> Arc<Set> {
        let mut state = self.state.lock();
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            let seen = list(&self.path);
            if seen != state.seen {
                state.set = Arc::new(read(&self.path, &seen, state.set.generation + 1));
                state.seen = seen;
            }
        }
        state.set.clone()
    }
}

impl Set {
    /// The profile of that name.
    ///
    /// # Errors
    /// A line for the user: not there, or broken and how.
    pub fn named(&self, name: &str) -> Result<Arc<Plan>, String> {
        if let Some(plan) = self.plans.get(name) {
            return Ok(plan.clone());
        }
        Err(match self.broken.get(&format!("{name}.toml")) {
            Some(why) => format!("profile {name:?} is broken: {why}"),
            None => {
                let known: Vec<&str> = self.plans.keys().map(String::as_str).collect();
                format!("no profile {name:?}; there are {}", known.join(", "))
            }
        })
    }

    /// The profile for a device: the longest prefix of its sysObjectID, or the fallback.
    ///
    /// # Errors
    /// When nothing matches and there is no fallback.
    pub fn of_device(&self, sys_object_id: Option<&Oid>) -> Result<Arc<Plan>, String> {
        let best = sys_object_id.and_then(|id| {
            self.matches
                .iter()
                .filter(|(prefix, _)| id.starts_with(prefix))
                .max_by_key(|(prefix, _)| prefix.len())
        });
        let name = best.map(|(_, name)| name).or(self.fallback.as_ref());
        let plan = name.and_then(|name| self.plans.get(name));
        plan.cloned().ok_or_else(|| match sys_object_id {
            Some(id) => format!("no profile matches sysObjectID {id} and none is the fallback"),
            None => "the device has no sysObjectID and no profile is the fallback".to_owned(),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    #[cfg(test)]
    pub fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.values()
    }
}

/// Name, size and time of each profile file, sorted.
fn list(path: &Path) -> Vec<(String, u64, Option<SystemTime>)> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let meta = std::fs::metadata(entry.path()).ok()?;
            // Editors leave hidden and backup files behind.
            let ours = name.ends_with(".toml") && !name.starts_with('.') && meta.is_file();
            ours.then(|| (name, meta.len(), meta.modified().ok()))
        })
        .collect();
    files.sort();
    files.truncate(FILES_MAX);
    files
}

fn read(path: &Path, seen: &[(String, u64, Option<SystemTime>)], generation: u64) -> Set {
    let mut files = BTreeMap::new();
    let mut set = Set {
        generation,
        ..Set::default()
    };
    for (name, bytes, _) in seen {
        let text = if *bytes > FILE_BYTES_MAX {
            Err(format!("over {FILE_BYTES_MAX} bytes"))
        } else {
            std::fs::read_to_string(path.join(name)).map_err(|e| e.to_string())
        };
        let stem = name.trim_end_matches(".toml").to_owned();
        match text.and_then(|text| parse(&text)) {
            Ok(parsed) => {
                files.insert(stem, parsed);
            }
            Err(why) => {
                set.broken.insert(name.clone(), why);
            }
        }
    }
    assemble(files, set)
}

fn parse(text: &str) -> Result<(File, Profile), String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string().replace('\n', " "))?;
    let profile = Profile::check(&file)?;
    Ok((file, profile))
}

/// Joins files with their includes and settles which device gets which.
fn assemble(files: BTreeMap<String, (File, Profile)>, mut set: Set) -> Set {
    for name in files.keys() {
        let mut plan = Profile::default();
        match merge(name, &files, &mut plan, &mut Vec::new()) {
            Ok(()) => {
                let plan = Plan {
                    name: name.clone(),
                    profile: plan,
                };
                set.plans.insert(name.clone(), Arc::new(plan));
            }
            Err(why) => {
                set.broken.insert(format!("{name}.toml"), why);
            }
        }
    }
    for (name, (file, _)) in &files {
        if !set.plans.contains_key(name) {
            continue;
        }
        for prefix in file.matches.iter().filter_map(|m| oid(m).ok()) {
            match set.matches.iter().find(|(p, _)| *p == prefix) {
                Some((_, first)) => {
                    let why = format!("match {prefix} is already {first}'s");
                    set.broken.insert(format!("{name}.toml"), why);
                }
                None => set.matches.push((prefix, name.clone())),
            }
        }
        if file.fallback {
            match &set.fallback {
                Some(first) => {
                    let why = format!("fallback is already {first}");
                    set.broken.insert(format!("{name}.toml"), why);
                }
                None => set.fallback = Some(name.clone()),
            }
        }
    }
    set
}

/// Adds `name` and what it includes to `into`, each file once.
fn merge(
    name: &str,
    files: &BTreeMap<String, (File, Profile)>,
    into: &mut Profile,
    done: &mut Vec<String>,
) -> Result<(), String> {
    if done.iter().any(|d| d == name) {
        return Ok(());
    }
    done.push(name.to_owned());
    let (file, profile) = files
        .get(name)
        .ok_or_else(|| format!("includes {name:?}, which is missing or broken"))?;
    into.include(profile);
    for other in &file.include {
        merge(other, files, into, done)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let folder = Folder::open(dir.path().to_path_buf());
        (dir, folder)
    }

    const SYSTEM: &str =
        "fallback = true\n[[scalar]]\noid = \"1.3.6.1.2.1.1.3.0\"\nreading = \"up\"\n";

    fn device(prefix: &str) -> String {
        format!("match = [\"{prefix}\"]\ninclude = [\"system\"]\n[facts]\nvendor = \"{prefix}\"\n")
    }

    #[test]
    fn the_longest_prefix_wins_and_the_fallback_takes_the_rest() {
        let (_dir, folder) = folder(&[
            ("system.toml", SYSTEM),
            ("a.toml", &device("1.3.6.1.4.1.318")),
            ("b.toml", &device("1.3.6.1.4.1.318.1.3.4.6")),
        ]);
        let set = folder.current();
        assert!(set.broken.is_empty(), "{:?}", set.broken);
        let table = [
            ("1.3.6.1.4.1.318.1.3.4.6", "b"),
            ("1.3.6.1.4.1.318.1.3.4.61", "a"),
            ("1.3.6.1.4.1.9.1", "system"),
        ];
        for (id, name) in table {
            let id = oid(id).unwrap();
            assert_eq!(set.of_device(Some(&id)).unwrap().name, name, "{id}");
        }
        assert_eq!(set.of_device(None).unwrap().name, "system");
        // The include is there.
        assert_eq!(set.named("b").unwrap().profile.scalars.oids.len(), 1);
    }

    #[test]
    fn a_broken_file_is_named_and_the_others_work() {
        let table = [
            ("not toml at all [", "TOML"),
            ("[[scalar]]\noid = \"1.3.x\"\nreading = \"a\"", "1.3.x"),
            ("[[scalar]]\noid = \"1.3.6.1.1.0\"", "neither reading"),
            (
                "[[scalar]]\noid = \"1.3.6.1.1.0\"\nreadings = \"a\"",
                "readings",
            ),
            (
                "[[scalar]]\noid = \"1.3.6.1.1.0\"\nreading = \"Ups Load\"",
                "reading name",
            ),
            ("include = [\"nowhere\"]", "nowhere"),
            (
                "[[table]]\nname = \"t\"\nentry = \"1.3.6.1.1\"",
                "no columns",
            ),
            ("match = [\"1.3.6.1.4.1.1\"]\nmatch = []", "duplicate"),
            (
                "[outlet]\nstatus = { oid = \"1.3.6.1.1\", on = [1], off = [2] }\non = { oid = \"1.3.6.1.2\", value = 1 }\noff = { oid = \"1.3.6.1.2\", value = 2 }",
                "{outlet}",
            ),
        ];
        for (text, expected) in table {
            let (_dir, folder) = folder(&[("system.toml", SYSTEM), ("bad.toml", text)]);
            let set = folder.current();
            let why = set.broken.get("bad.toml").cloned().unwrap_or_default();
            assert!(why.contains(expected), "{text:?} gave {why:?}");
            assert!(set.named("system").is_ok());
            assert!(set.named("bad").unwrap_err().contains("broken"));
        }
        let (_dir, folder) = folder(&[("system.toml", SYSTEM)]);
        assert!(folder.current().named("x").unwrap_err().contains("system"));
    }

    #[test]
    fn includes_may_be_circular() {
        let (_dir, folder) = folder(&[
            (
                "a.toml",
                "include = [\"b\"]\n[[scalar]]\noid = \"1.3.6.1.1.0\"\nreading = \"a\"\n",
            ),
            (
                "b.toml",
                "include = [\"a\"]\n[[scalar]]\noid = \"1.3.6.1.2.0\"\nreading = \"b\"\n",
            ),
        ]);
        let set = folder.current();
        assert_eq!(set.named("a").unwrap().profile.scalars.values.len(), 2);
    }

    #[test]
    fn a_new_file_is_seen_without_a_restart() {
        let (dir, folder) = folder(&[("system.toml", SYSTEM)]);
        assert!(folder.current().named("new").is_err());
        std::fs::write(dir.path().join("new.toml"), SYSTEM.replace("true", "false")).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while folder.current().named("new").is_err() {
            assert!(Instant::now() < end, "never seen");
            std::thread::sleep(Duration::from_millis(50));
        }
        // A change of content only.
        std::fs::write(dir.path().join("new.toml"), "broken [").unwrap();
        while folder.current().named("new").is_ok() {
            assert!(Instant::now() < end, "change never seen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The profiles that ship.
    fn shipped() -> Arc<Set> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        Folder::open(path).current()
    }

    #[test]
    fn shipped_profiles_are_sound_and_their_readings_declared() {
        let set = shipped();
        assert_eq!(set.broken, BTreeMap::new());
        let manifest = sengu_sdk::Manifest::parse(include_str!("../worker.toml")).unwrap();
        for plan in set.plans() {
            for shape in plan.profile.readings() {
                let declared = manifest.readings.iter().find(|r| r.name == shape.name);
                let declared = declared.unwrap_or_else(|| {
                    panic!("{}: {} is not in worker.toml", plan.name, shape.name)
                });
                assert_eq!(declared.unit, shape.unit, "{}: {}", plan.name, shape.name);
                let kind = format!("{:?}", shape.kind);
                assert_eq!(format!("{:?}", declared.kind), kind, "{}", shape.name);
            }
        }
    }

    #[test]
    fn shipped_profiles_find_their_devices() {
        let set = shipped();
        let table = [
            ("1.3.6.1.4.1.318.1.3.4.6", "apc-rpdu2"),
            ("1.3.6.1.4.1.318.1.3.4.5", "apc-rpdu"),
            ("1.3.6.1.4.1.534.6.6.7", "eaton-epdu"),
            ("1.3.6.1.4.1.8072.3.2.10", "net-snmp"),
            ("1.3.6.1.2.1.33", "ups"),
            ("1.3.6.1.4.1.9.1.1208", "standard"),
        ];
        for (id, name) in table {
            let id = oid(id).unwrap();
            assert_eq!(set.of_device(Some(&id)).unwrap().name, name, "{id}");
        }
    }
}
