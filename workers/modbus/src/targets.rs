//! What an instance knows of each target: its map, and what the device has taught about itself. Lost with the instance,
//! and learnt again: nothing here may be needed for an honest outcome.

use crate::batch::{Learnt, Limits, Place};
use crate::config::{self, Config};
use crate::map::Map;
use crate::profiles::Set;
use crate::trouble::Trouble;
use parking_lot::Mutex;
use sengu_sdk::Context;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A target that no task came for is forgotten.
const IDLE: Duration = Duration::from_secs(3_600);
/// Devices get new firmware: what they refused is tried again after a while.
const LEARNT_FOR: Duration = Duration::from_secs(600);
/// Facts change at a firmware update only.
const IDENTIFIED_FOR: Duration = Duration::from_secs(3_600);
/// Behind a gateway a device can be swapped without any connection being lost.
const MET_FOR: Duration = Duration::from_secs(600);

/// Idle ones are looked for this often, and only when a task comes.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Targets(Mutex<All>);

#[derive(Default)]
struct All {
    by_name: HashMap<String, Arc<Known>>,
    swept: Option<Instant>,
}

pub struct Known {
    written: serde_json::Value,
    address_written: String,
    generation: u64,
    pub address: String,
    pub config: Config,
    pub map: Map,
    pub places: Vec<Place>,
    /// What the target must be, by fact.
    pub identity: BTreeMap<String, String>,
    learnt: Mutex<(Instant, Learnt)>,
    identified: Mutex<Option<(Instant, BTreeMap<String, String>)>>,
    met: Mutex<Option<(u64, Instant)>>,
    used: Mutex<Instant>,
}

impl Targets {
    /// What is known of the task's target. A change of its Record or of the profiles begins anew.
    ///
    /// # Errors
    /// `refused` when its address, config or map is not sound.
    pub fn of(&self, task: &Context, profiles: &Set) -> Result<Arc<Known>, Trouble> {
        let now = Instant::now();
        let mut all = self.0.lock();
        if all.swept.is_none_or(|at| now - at >= SWEEP_EVERY) {
            all.swept = Some(now);
            all.by_name
                .retain(|_, known| now - *known.used.lock() < IDLE);
        }
        if let Some(known) = all.by_name.get(&task.target.name)
            && known.is_of(task, profiles)
        {
            *known.used.lock() = now;
            return Ok(known.clone());
        }
        let known = Arc::new(Known::new(task, profiles, None)?);
        all.by_name.insert(task.target.name.clone(), known.clone());
        Ok(known)
    }
}

impl Known {
    /// # Errors
    /// `refused`, with what is not sound.
    pub fn new(task: &Context, profiles: &Set, profile: Option<&str>) -> Result<Known, Trouble> {
        let mut config = Config::of(task)?;
        let inline = config.map.take();
        let name = profile.or(config.profile.as_deref());
        if name.is_none() && inline.is_none() {
            return Err(Trouble::refused(
                "the target's config names no profile and has no map",
            ));
        }
        let named = name.map(|name| profiles.named(name)).transpose();
        let mut files = Vec::from_iter(named.map_err(Trouble::refused)?.cloned());
        files.extend(inline);
        let mut map = Map::build(files)
            .map_err(|why| Trouble::refused(format!("the target's register map: {why}")))?;
        if let Some(max) = config.registers_max {
            map.registers_max = max.clamp(1, map.registers_max);
        }
        map.gap = config.gap.unwrap_or(map.gap);
        map.identify = config.identify.unwrap_or(map.identify);
        let now = Instant::now();
        Ok(Known {
            written: task.target.config.clone(),
            address_written: task.target.address.clone(),
            generation: profiles.generation,
            address: config::address(&task.target.address)?,
            places: map.places(),
            map,
            config,
            identity: task.target.identity.clone(),
            learnt: Mutex::new((now, Learnt::default())),
            identified: Mutex::default(),
            met: Mutex::default(),
            used: Mutex::new(now),
        })
    }

    fn is_of(&self, task: &Context, profiles: &Set) -> bool {
        self.generation == profiles.generation
            && self.address_written == task.target.address
            && self.written == task.target.config
            && self.identity == task.target.identity
    }

    pub fn limits(&self) -> Limits {
        Limits {
            registers: self.map.registers_max,
            gap: self.map.gap,
        }
    }

    /// What the device has refused lately.
    pub fn learnt(&self) -> Learnt {
        let mut learnt = self.learnt.lock();
        if learnt.0.elapsed() > LEARNT_FOR {
            *learnt = (Instant::now(), Learnt::default());
        }
        learnt.1.clone()
    }

    pub fn learn(&self, learnt: Learnt) {
        self.learnt.lock().1 = learnt;
    }

    /// The device's own identification, when it was asked lately; empty when it has none.
    pub fn identified(&self) -> Option<BTreeMap<String, String>> {
        let identified = self.identified.lock();
        let (at, facts) = identified.as_ref()?;
        (at.elapsed() < IDENTIFIED_FOR).then(|| facts.clone())
    }

    pub fn identify(&self, facts: BTreeMap<String, String>) {
        *self.identified.lock() = Some((Instant::now(), facts));
    }

    /// Whether it was seen over this connection, and lately, that the device is the one meant.
    pub fn met_on(&self, connection: u64) -> bool {
        let met = *self.met.lock();
        met.is_some_and(|(on, at)| on == connection && at.elapsed() < MET_FOR)
    }

    pub fn meet(&self, connection: u64) {
        *self.met.lock() = Some((connection, Instant::now()));
    }
}
