//! The folder of profiles: read at start and again when it changes, so that a new device needs no restart.
//!
//! A broken file is named and left out; it must never take another one down.

use crate::map::{File, Map};
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
const FILE_BYTES_MAX: u64 = 512 << 10;

/// All profiles of one reading of the folder.
#[derive(Debug, Default)]
pub struct Set {
    files: BTreeMap<String, File>,
    /// Profile name to what is wrong with it.
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
    pub fn named(&self, name: &str) -> Result<&File, String> {
        if let Some(file) = self.files.get(name) {
            return Ok(file);
        }
        Err(match self.broken.get(name) {
            Some(why) => format!("profile {name:?} is broken: {why}"),
            None => {
                let known: Vec<&str> = self.files.keys().map(String::as_str).collect();
                format!("no profile {name:?}; there are {}", known.join(", "))
            }
        })
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
            Ok(file) => {
                set.files.insert(stem, file);
            }
            Err(why) => {
                set.broken.insert(stem, why);
            }
        }
    }
    set
}

/// A file that makes a sound map by itself.
fn parse(text: &str) -> Result<File, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    Map::build(vec![file.clone()])?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_named_and_the_others_stay_and_changes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let good = "[[point]]\nname = \"a\"\ntable = \"input\"\naddress = 1\n";
        std::fs::write(dir.path().join("good.toml"), good).unwrap();
        std::fs::write(dir.path().join("bad.toml"), "[[point]]\nname = 1").unwrap();
        std::fs::write(dir.path().join("unsound.toml"), "registers_max = 126").unwrap();
        std::fs::write(dir.path().join(".hidden.toml"), "x").unwrap();
        let folder = Folder::open(dir.path().to_owned());
        let set = folder.current();
        assert!(set.named("good").is_ok());
        assert!(set.named("unsound").unwrap_err().contains("broken"));
        assert_eq!(set.broken.keys().collect::<Vec<_>>(), ["bad", "unsound"]);
        assert!(set.named("none").unwrap_err().contains("there are good"));
        folder.state.lock().looked -= LOOK_EVERY;
        std::fs::write(dir.path().join("bad.toml"), good).unwrap();
        let set = folder.current();
        assert_eq!((set.generation, set.named("bad").is_ok()), (2, true));
    }

    #[test]
    fn the_profiles_that_ship_are_sound_and_their_readings_are_declared() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let set = Folder::open(folder.join("profiles")).current();
        assert!(set.broken.is_empty(), "{:?}", set.broken);
        assert!(set.files.len() >= 3);
        let manifest = include_str!("../worker.toml");
        let manifest = sengu_sdk::Manifest::parse(manifest).unwrap();
        for (name, file) in &set.files {
            let map = Map::build(vec![file.clone()]).unwrap();
            for point in &map.points {
                let Some(reading) = &point.reading else {
                    continue;
                };
                let declared = manifest.readings.iter().find(|r| r.name == *reading);
                let declared = declared.unwrap_or_else(|| panic!("{name}: {reading}"));
                assert_eq!(declared.unit, point.unit, "{name}: {reading}");
            }
        }
    }
}
