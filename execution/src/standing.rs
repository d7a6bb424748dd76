//! Whether this WEE takes tasks at all: what logic wants of it, whether another one of its name was there before it, and
//! whether it is to make room for a newer program. Tasks in hand are never touched by any of this.

use crate::directory::News;
use crate::shell::Shell;
use sengu_model::limits;
use sengu_model::wire::envelope::WeeSpec;
use serde::Deserialize;

/// After the directory came back, a wish that is not in it is taken for withdrawn only after this long, in
/// milliseconds: logic may just have been started anew.
const SPEC_GRACE_MS: u64 = 30_000;

#[derive(Default)]
pub struct Standing {
    /// As read last.
    spec: WeeSpec,
    /// The directory came back without it: until when it is believed all the same.
    spec_until_ms: Option<u64>,
    /// What others of this name say was looked at once.
    pub namesakes_read: bool,
    /// Another WEE of this name was there first.
    namesake: Option<Namesake>,
    /// One that came later, and has been told of.
    rival_life: Option<u64>,
    /// It ends, and another program goes on in its place.
    upgrading: bool,
}

struct Namesake {
    life: u64,
    heard_ms: u64,
}

/// What may happen to a WEE, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    pub spec: WeeSpec,
    pub namesake: bool,
    pub upgrading: bool,
}

impl Wishes {
    /// Why nothing new is begun, if so.
    pub fn holds_back(&self) -> Option<&'static str> {
        if self.namesake {
            Some("another WEE of this name was there first")
        } else if self.upgrading {
            Some("this WEE is being upgraded")
        } else if self.spec.drained {
            Some("this WEE is drained")
        } else if self.spec.cordoned {
            Some("this WEE is cordoned")
        } else {
            None
        }
    }

    /// Whether instances leave as soon as they have no task.
    pub fn lets_instances_go(&self) -> bool {
        self.namesake || self.upgrading || self.spec.drained
    }

    /// As told to others.
    pub fn told(&self) -> WeeSpec {
        WeeSpec {
            cordoned: self.spec.cordoned || self.holds_back().is_some(),
            drained: self.spec.drained || self.upgrading,
        }
    }
}

impl Shell {
    fn wishes(&self) -> Wishes {
        Wishes {
            spec: self.standing.spec,
            namesake: self.standing.namesake.is_some(),
            upgrading: self.standing.upgrading,
        }
    }

    pub fn holds_back(&self) -> Option<&'static str> {
        self.wishes().holds_back()
    }

    pub fn lets_instances_go(&self) -> bool {
        self.wishes().lets_instances_go()
    }

    pub fn told_spec(&self) -> WeeSpec {
        self.wishes().told()
    }

    /// It may neither announce itself nor take commands: those under its name are another's.
    pub fn stays_out(&self) -> bool {
        self.standing.namesake.is_some()
    }

    pub fn is_upgrading(&self) -> bool {
        self.standing.upgrading
    }

    /// Makes a change, and does what follows from it.
    fn change_standing(&mut self, change: impl FnOnce(&mut Standing)) {
        let before = self.wishes();
        change(&mut self.standing);
        let after = self.wishes();
        if before == after || self.leaving.is_some() {
            return;
        }
        self.announce.stale = true;
        tracing::info!(
            ?after,
            tasks = self.hand.len(),
            "what this WEE is to do has changed"
        );
        match (before.holds_back(), after.holds_back()) {
            (None, Some(why)) => self.close_all_intakes(why),
            (Some(_), None) => self.open_all_intakes(),
            _ => self.pools.touch_all(),
        }
    }

    pub fn on_spec(&mut self, news: News) {
        let own = format!("wee-spec/{}", self.config.name);
        let mut read = None;
        for (key, value) in news.entries {
            if key != own {
                continue; // of a WEE whose name begins like this one's
            }
            read = match value.as_deref().map(serde_json::from_slice::<WeeSpec>) {
                Some(Ok(spec)) => Some(spec),
                Some(Err(e)) => {
                    tracing::error!(error = %e, "what is wanted of this WEE is not understood");
                    continue;
                }
                None => Some(WeeSpec::default()),
            };
        }
        if read.is_none() && news.all && self.standing.spec != WeeSpec::default() {
            self.standing.spec_until_ms = Some(self.now_ms + SPEC_GRACE_MS);
        }
        if let Some(spec) = read {
            self.standing.spec_until_ms = None;
            self.change_standing(|standing| standing.spec = spec);
        }
    }

    /// A command of logic: end, so that the program that is installed now can go on. Tasks in hand may take their time,
    /// since each has a limit of its own.
    pub fn on_upgrade(&mut self) {
        if self.config.embedded {
            tracing::warn!("an upgrade is refused: this WEE shares its process with logic");
        } else if !self.standing.upgrading {
            tracing::info!(tasks = self.hand.len(), "upgrading");
            self.change_standing(|standing| standing.upgrading = true);
        }
    }

    pub fn on_namesakes(&mut self, news: News) {
        let own = self.wee_key();
        // Before this WEE has said anything itself, what is there was left by an earlier life.
        let stale = news.all && !self.announce.said;
        self.standing.namesakes_read = true;
        for (key, value) in news.entries {
            if key != own || stale {
                continue;
            }
            let life = value.as_deref().map(serde_json::from_slice::<Head>);
            match life {
                Some(Ok(Head { life })) => self.on_namesake(life),
                Some(Err(e)) => tracing::error!(error = %e, "an announcement is not understood"),
                None if self.stays_out() => self.take_the_place("the other one has left"),
                None => {}
            }
        }
    }

    fn on_namesake(&mut self, life: u64) {
        let own = self.config.life;
        if life == own {
            return;
        }
        let name = self.config.name.clone();
        if life > own {
            if self.standing.rival_life.replace(life) != Some(life) {
                tracing::error!(
                    name,
                    "another WEE of the same name came later; give each its own"
                );
            }
            // So that it hears of this one.
            self.announce.say_again();
            return;
        }
        let heard_ms = self.now_ms;
        if !self.stays_out() {
            tracing::error!(
                name,
                "another WEE of the same name was there first: this one stays out; give each its own"
            );
        }
        let namesake = Namesake { life, heard_ms };
        self.change_standing(|standing| standing.namesake = Some(namesake));
        self.commands.poke.notify_one();
    }

    fn take_the_place(&mut self, why: &str) {
        tracing::info!(name = self.config.name, why, "this WEE works from now on");
        self.change_standing(|standing| standing.namesake = None);
        self.announce.say_again();
        if !self.commands.followed {
            self.follow_commands(None);
        }
    }

    /// What is due by time alone.
    pub fn look_after_standing(&mut self) {
        let now_ms = self.now_ms;
        if self.standing.spec_until_ms.is_some_and(|ms| now_ms >= ms) {
            self.standing.spec_until_ms = None;
            self.change_standing(|standing| standing.spec = WeeSpec::default());
        }
        let silent =
            |other: &Namesake| now_ms.saturating_sub(other.heard_ms) >= limits::WEE_SILENCE_MAX_MS;
        if let Some(other) = &self.standing.namesake
            && silent(other)
        {
            tracing::warn!(life = other.life, "the other WEE of this name is silent");
            self.take_the_place("the other one is silent");
        }
        if self.standing.upgrading && self.hand.is_empty() && self.leaving.is_none() {
            self.leave();
        }
    }
}

/// All that matters here of an announcement.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    life: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_what_is_wanted() {
        let wishes = |cordoned, drained, namesake, upgrading| Wishes {
            spec: WeeSpec { cordoned, drained },
            namesake,
            upgrading,
        };
        let table = [
            (
                wishes(false, false, false, false),
                "",
                false,
                (false, false),
            ),
            (
                wishes(true, false, false, false),
                "cordoned",
                false,
                (true, false),
            ),
            (
                wishes(false, true, false, false),
                "drained",
                true,
                (true, true),
            ),
            (
                wishes(true, true, false, false),
                "drained",
                true,
                (true, true),
            ),
            (
                wishes(false, false, false, true),
                "upgraded",
                true,
                (true, true),
            ),
            (
                wishes(false, false, true, false),
                "first",
                true,
                (true, false),
            ),
        ];
        for (wishes, why, go, told) in table {
            let said = wishes.holds_back().unwrap_or_default();
            assert!(
                said.contains(why) && said.is_empty() == why.is_empty(),
                "{wishes:?}"
            );
            assert_eq!(wishes.lets_instances_go(), go, "{wishes:?}");
            let spec = wishes.told();
            assert_eq!((spec.cordoned, spec.drained), told, "{wishes:?}");
        }
    }
}
