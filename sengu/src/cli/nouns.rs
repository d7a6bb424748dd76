//! Which words name which kinds: case does not matter, singular and plural are alike, ids speak for themselves.

use anyhow::{anyhow, bail};
use sengu_model::{RunId, TaskId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    Target,
    Run,
    Worker,
    Wee,
    Schedule,
    Secret,
    Task,
}

impl Noun {
    const ALL: [(Noun, &'static str); 7] = [
        (Noun::Target, "Target"),
        (Noun::Run, "Run"),
        (Noun::Worker, "Worker"),
        (Noun::Wee, "Wee"),
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
                    "no kind {word:?}; known: targets, runs, workers, wees, schedules, secrets, tasks"
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
}
