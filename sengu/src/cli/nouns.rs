//! Which words name which kinds: case does not matter, singular and plural are alike, ids speak for themselves.

use anyhow::{anyhow, bail};
use sengu_model::{RunId, TaskId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    Target,
    Run,
    Worker,
    Wee,
    Release,
    Schedule,
    Secret,
    Task,
}

impl Noun {
    const ALL: [(Noun, &'static str); 8] = [
        (Noun::Target, "Target"),
        (Noun::Run, "Run"),
        (Noun::Worker, "Worker"),
        (Noun::Wee, "Wee"),
        (Noun::Release, "Release"),
        (Noun::Schedule, "Schedule"),
        (Noun::Secret, "Secret"),
        (Noun::Task, "Task"),
    ];

    pub fn parse(word: &str) -> anyhow::Result<Noun> {
        let lower = word.to_ascii_lowercase();
        let singular = lower.strip_suffix('s').unwrap_or(&lower);
        Noun::ALL
            .into_iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(singular))
            .map(|(noun, _)| noun)
            .ok_or_else(|| {
                anyhow!(
                    "no kind {word:?}; known: targets, runs, workers, wees, releases, schedules, secrets, tasks"
                )
            })
    }

    /// The kind as records spell it.
    pub fn kind(self) -> &'static str {
        Noun::ALL
            .into_iter()
            .find(|(n, _)| *n == self)
            .map_or("", |(_, name)| name)
    }

    /// The kind as `-o name` prints it.
    pub fn lower(self) -> String {
        self.kind().to_ascii_lowercase()
    }

    /// Path of one object in the API.
    pub fn path(self, name: &str) -> String {
        let name = crate::client::encode(name);
        match self {
            Noun::Task => format!("/v1/tasks/{name}"),
            Noun::Run => format!("/v1/runs/{name}"),
            noun => format!("/v1/records/{}/{name}", noun.kind()),
        }
    }
}

/// `KIND/NAME`, or the two words apart.
pub fn object(words: &[String]) -> anyhow::Result<(Noun, String)> {
    match words {
        [one] => match one.split_once('/') {
            Some((kind, name)) if !name.is_empty() => Ok((Noun::parse(kind)?, name.to_owned())),
            _ => guess(one).ok_or_else(|| anyhow!("{one:?} names no object: say KIND/NAME")),
        },
        [kind, name] if !kind.contains('/') => Ok((Noun::parse(kind)?, name.clone())),
        _ => bail!("say one KIND/NAME"),
    }
}

/// As [`object`], but a bare name is a target.
pub fn object_or_target(word: &str) -> anyhow::Result<(Noun, String)> {
    match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() => Ok((Noun::parse(kind)?, name.to_owned())),
        _ => Ok(guess(word).unwrap_or((Noun::Target, word.to_owned()))),
    }
}

/// Names of execution environments: `wee/NAME` or NAME.
pub fn wees(words: &[String]) -> anyhow::Result<Vec<String>> {
    let name = |word: &String| match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && Noun::parse(kind)? == Noun::Wee => {
            Ok(name.to_owned())
        }
        Some(_) => bail!("{word:?} is no wee/NAME"),
        None => Ok(word.clone()),
    };
    words.iter().map(name).collect()
}

/// `kind@version`, with or without `worker/` before it.
pub fn worker_version(word: &str) -> anyhow::Result<(String, String)> {
    let name = match word.split_once('/') {
        Some((kind, name)) if Noun::parse(kind)? == Noun::Worker => name,
        Some(_) => bail!("{word:?} is no KIND@VERSION"),
        None => word,
    };
    match name.split_once('@') {
        Some((kind, version)) if !kind.is_empty() && !version.is_empty() => {
            Ok((kind.to_owned(), version.to_owned()))
        }
        _ => bail!("{word:?} is no KIND@VERSION, such as redfish@1.5.0"),
    }
}

/// `redfish` or `release/redfish`.
pub fn release(word: &str) -> anyhow::Result<String> {
    match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && Noun::parse(kind)? == Noun::Release => {
            Ok(name.to_owned())
        }
        Some(_) => bail!("{word:?} is no release/KIND"),
        None if word.contains('@') => {
            bail!("{word:?}: say the worker kind alone; its Release bears its name")
        }
        None => Ok(word.to_owned()),
    }
}

fn guess(word: &str) -> Option<(Noun, String)> {
    if word.parse::<TaskId>().is_ok() {
        Some((Noun::Task, word.to_owned()))
    } else if word.parse::<RunId>().is_ok() {
        Some((Noun::Run, word.to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_many_words() {
        for (word, noun) in [
            ("targets", Noun::Target),
            ("TARGET", Noun::Target),
            ("Wees", Noun::Wee),
            ("schedule", Noun::Schedule),
            ("Releases", Noun::Release),
            ("tasks", Noun::Task),
        ] {
            assert_eq!(Noun::parse(word).unwrap(), noun, "{word}");
        }
        assert!(Noun::parse("pods").is_err());
    }

    #[test]
    fn objects_are_named_in_three_ways() {
        let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let t = TaskId(5).to_string();
        assert_eq!(
            object(&words(&["target/a"])).unwrap(),
            (Noun::Target, "a".into())
        );
        assert_eq!(
            object(&words(&["targets", "a"])).unwrap(),
            (Noun::Target, "a".into())
        );
        assert_eq!(object(&words(&[&t])).unwrap(), (Noun::Task, t.clone()));
        assert!(object(&words(&["a"])).is_err());
        assert_eq!(object_or_target("a").unwrap(), (Noun::Target, "a".into()));
        assert_eq!(object_or_target(&t).unwrap().0, Noun::Task);
    }

    #[test]
    fn versions_releases_and_wees_are_named_with_and_without_their_kind() {
        let pair = ("redfish".to_owned(), "1.5.0-rc.1".to_owned());
        assert_eq!(worker_version("redfish@1.5.0-rc.1").unwrap(), pair);
        assert_eq!(worker_version("worker/redfish@1.5.0-rc.1").unwrap(), pair);
        for wrong in ["redfish", "@1", "redfish@", "wee/redfish@1", "a/b@1"] {
            assert!(worker_version(wrong).is_err(), "{wrong}");
        }
        assert_eq!(release("release/redfish").unwrap(), "redfish");
        assert_eq!(release("redfish").unwrap(), "redfish");
        assert!(release("redfish@1.5.0").is_err() && release("worker/redfish").is_err());
        let words = ["wee/a".to_owned(), "b".to_owned()];
        assert_eq!(wees(&words).unwrap(), ["a", "b"]);
        assert!(wees(&["target/a".to_owned()]).is_err());
    }
}
