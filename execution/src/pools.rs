//! The pools of a WEE by key, and which of them there is something to do for. An idle pool costs memory and nothing
//! else: neither the passing of time nor the work of others may touch it.

use crate::complaints::Complaints;
use crate::hand_over::Waiting;
use crate::intake::Intake;
use crate::lease::IdHash;
use crate::pool::{self, Demand, PoolView};
use crate::runtime::{Image, Runtime};
use sengu_model::Class;
use sengu_model::manifest::PoolDecl;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// Names a pool for as long as the WEE lives: a key is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey(u64);

/// How far a pool is with its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has asked for it, or it could not be had and is asked for again later.
    Dormant,
    /// It is on its way over the interconnect.
    Fetching,
    /// The runtime makes it ready.
    Preparing,
    Prepared,
}

/// All instances of one version of one worker kind; those of a digest that was offered before it are leaving.
pub struct Pool {
    pub kind: Arc<str>,
    pub version: Arc<str>,
    pub image: Arc<Image>,
    /// Of the image as a tar.
    pub bytes: u64,
    /// As offered.
    pub decl: PoolDecl,
    pub active: bool,
    /// Its first tasks are on their way: until when one instance is kept for them.
    pub roused_until_ms: u64,
    /// The best of those that the image declares and that are here. None when there is none.
    pub runtime: Option<Arc<dyn Runtime>>,
    pub stage: Stage,
    /// Not offered any more, or the WEE leaves: why.
    pub closed: Option<String>,
    /// The offer was not repeated since the directory came back.
    pub unconfirmed: bool,
    pub instances: Vec<u64>,
    /// By class.
    pub intakes: [Intake; 2],
    /// Received and without a slot, by class.
    pub waiting: [VecDeque<Waiting>; 2],
    /// Tasks that wait for logic to answer their claims, by class. A slot is kept for each.
    pub claimed: [u32; 2],
    /// Free slots as of the last settling, kept up by what was begun and ended since.
    pub free: u32,
    /// Tasks still taken in this tick to be rejected, while broken.
    pub rejections_left: u32,
    pub crashes: u32,
    /// An instance of this digest has said hello once.
    pub came_up: bool,
    pub start_after_ms: u64,
    pub broken: Option<String>,
    pub restarts: u64,
    pub ended: u64,
    pub failed: u64,
    pub complaints: Complaints,
    touched: bool,
    due_ms: u64,
}

impl Pool {
    pub fn new(kind: &str, version: &str, image: Arc<Image>, bytes: u64) -> Pool {
        Pool {
            kind: kind.into(),
            version: version.into(),
            image,
            bytes,
            decl: PoolDecl::default(),
            active: false,
            roused_until_ms: 0,
            runtime: None,
            stage: Stage::Dormant,
            closed: None,
            unconfirmed: false,
            instances: Vec::new(),
            intakes: [Intake::default(), Intake::default()],
            waiting: [VecDeque::new(), VecDeque::new()],
            claimed: [0; 2],
            free: 0,
            rejections_left: 0,
            crashes: 0,
            came_up: false,
            start_after_ms: 0,
            broken: None,
            restarts: 0,
            ended: 0,
            failed: 0,
            complaints: Complaints::default(),
            touched: false,
            due_ms: u64::MAX,
        }
    }

    /// How many instances are kept now.
    pub fn in_force(&self, now_ms: u64) -> PoolDecl {
        let demand = match self.active {
            true if now_ms < self.roused_until_ms => Demand::Roused,
            true => Demand::Active,
            false => Demand::Inactive,
        };
        pool::in_force(self.decl, demand)
    }

    pub fn view(&self, now_ms: u64, drained: bool) -> PoolView {
        let waiting = self.waiting.iter().map(VecDeque::len).sum::<usize>();
        PoolView {
            decl: self.in_force(now_ms),
            slots: self.image.slots,
            waiting: u32::try_from(waiting)
                .unwrap_or(u32::MAX)
                .saturating_add(self.claimed()),
            now_ms,
            prepared: self.stage == Stage::Prepared,
            dormant: self.sleeps(),
            start_after_ms: self.start_after_ms,
            crashes: self.crashes,
            broken: self.broken.is_some(),
            active: self.active,
            closing: drained || self.closed.is_some(),
        }
    }

    /// It waits for its first task before it fetches anything.
    pub fn sleeps(&self) -> bool {
        self.stage == Stage::Dormant && self.broken.is_none() && self.is_without_tasks()
    }

    pub fn is_without_tasks(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty) && self.claimed() == 0
    }

    /// Slots that are kept for tasks whose claims are out.
    pub fn claimed(&self) -> u32 {
        self.claimed.iter().sum()
    }

    /// The image is to be asked for now.
    pub fn wants_its_image(&self, now_ms: u64) -> bool {
        let wanted = self.active || !self.is_without_tasks();
        self.stage == Stage::Dormant
            && self.closed.is_none()
            && wanted
            && now_ms >= self.start_after_ms
    }

    /// Why tasks that wait are given back, if so. A broken version that no Release sends tasks to is tried for a task
    /// that is pinned to it, and for nothing else.
    pub fn refuses(&self, now_ms: u64) -> Option<&str> {
        let tries = !self.active && now_ms >= self.start_after_ms;
        self.broken.as_deref().filter(|_| !tries)
    }

    pub fn slots_max(&self) -> u32 {
        let max = pool::in_force(self.decl, Demand::Active).max;
        self.image.slots.saturating_mul(max)
    }

    /// Slots that a task of this class may still take.
    pub fn room(&self, class: Class) -> u32 {
        match class {
            Class::Observe if !self.sleeps() => {
                let decl = pool::in_force(self.decl, Demand::Active);
                let reserve = pool::reserve(&decl, self.image.slots);
                self.free.saturating_sub(reserve)
            }
            _ => self.free,
        }
    }

    /// When time alone makes something due, if only more events did not.
    fn next_due_ms(&self, next_tick_ms: u64, rejections_max: u32) -> u64 {
        if !self.instances.is_empty() || !self.is_without_tasks() {
            return next_tick_ms;
        }
        if self.closed.is_some() {
            return u64::MAX;
        }
        if self.broken.is_some() && self.rejections_left < rejections_max {
            return next_tick_ms;
        }
        match self.stage {
            Stage::Dormant if self.active => self.start_after_ms,
            Stage::Prepared if self.start_after_ms >= next_tick_ms => self.start_after_ms,
            _ => u64::MAX,
        }
    }

    /// Closed, and nothing refers to it any more.
    fn is_over(&self) -> bool {
        self.closed.is_some()
            && self.instances.is_empty()
            && self.is_without_tasks()
            && self.intakes.iter().all(Intake::is_settled)
    }
}

#[derive(Default)]
pub struct Pools {
    pools: HashMap<PoolKey, Pool, IdHash>,
    /// By `kind/version`, as in the directory of offers.
    by_name: BTreeMap<String, PoolKey>,
    /// Those to be settled in this turn.
    touched: Vec<PoolKey>,
    due: BTreeSet<(u64, PoolKey)>,
    last: u64,
}

impl Pools {
    pub fn add(&mut self, name: &str, pool: Pool) -> PoolKey {
        self.last += 1;
        let key = PoolKey(self.last);
        self.pools.insert(key, pool);
        self.by_name.insert(name.to_owned(), key);
        key
    }

    pub fn find(&self, name: &str) -> Option<PoolKey> {
        self.by_name.get(name).copied()
    }

    pub fn get_mut(&mut self, key: PoolKey) -> Option<&mut Pool> {
        self.pools.get_mut(&key)
    }

    /// All keys, by name.
    pub fn keys(&self) -> Vec<PoolKey> {
        self.by_name.values().copied().collect()
    }

    /// All pools, by name.
    pub fn iter(&self) -> impl Iterator<Item = (PoolKey, &Pool)> {
        let one = |key: &PoolKey| Some((*key, self.pools.get(key)?));
        self.by_name.values().filter_map(one)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Pool> {
        self.pools.values_mut()
    }

    /// Something has changed that it must be settled for.
    pub fn touch(&mut self, key: PoolKey) {
        if let Some(pool) = self.pools.get_mut(&key)
            && !std::mem::replace(&mut pool.touched, true)
        {
            self.touched.push(key);
        }
    }

    pub fn touch_all(&mut self) {
        for key in self.keys() {
            self.touch(key);
        }
    }

    /// Those to be settled now.
    pub fn take_touched(&mut self) -> Vec<PoolKey> {
        let touched = std::mem::take(&mut self.touched);
        for key in &touched {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.touched = false;
            }
        }
        touched
    }

    /// Notes when it must be looked at again if nothing happens until then.
    pub fn set_due(&mut self, key: PoolKey, next_tick_ms: u64, rejections_max: u32) {
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        let due_ms = pool.next_due_ms(next_tick_ms, rejections_max);
        if due_ms != pool.due_ms {
            self.due.remove(&(pool.due_ms, key));
            pool.due_ms = due_ms;
            if due_ms != u64::MAX {
                self.due.insert((due_ms, key));
            }
        }
    }

    /// Those that are due by time.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<PoolKey> {
        let mut taken = Vec::new();
        while let Some((due_ms, key)) = self.due.first().copied()
            && due_ms <= now_ms
        {
            self.due.pop_first();
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.due_ms = u64::MAX;
                taken.push(key);
            }
        }
        taken
    }

    /// Forgets a pool that nothing is left of; gives whether there was one.
    pub fn reap(&mut self, key: PoolKey) -> bool {
        if !self.pools.get(&key).is_some_and(Pool::is_over) {
            return false;
        }
        if let Some(pool) = self.pools.remove(&key) {
            self.due.remove(&(pool.due_ms, key));
            self.by_name
                .remove(&format!("{}/{}", pool.kind, pool.version));
        }
        true
    }
}

impl Index<PoolKey> for Pools {
    type Output = Pool;
    fn index(&self, key: PoolKey) -> &Pool {
        self.pools.get(&key).expect(REFERRED)
    }
}

impl IndexMut<PoolKey> for Pools {
    fn index_mut(&mut self, key: PoolKey) -> &mut Pool {
        self.pools.get_mut(&key).expect(REFERRED)
    }
}

/// Events that may come later than that use `get_mut`.
const REFERRED: &str = "a pool with an instance, a waiting task or an intake is not reaped";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Resources;

    fn pool(version: &str) -> Pool {
        let image = Image {
            kind: "echo".to_owned(),
            version: version.to_owned(),
            digest: String::new(),
            folder: std::path::PathBuf::new(),
            command: Vec::new(),
            runtimes: Vec::new(),
            resources: Resources::default(),
            slots: 1,
        };
        Pool::new("echo", version, Arc::new(image), 0)
    }

    #[test]
    fn an_idle_pool_is_never_due_and_a_withdrawn_one_leaves_nothing() {
        let mut pools = Pools::default();
        for cycle in 0..1_000 {
            let key = pools.add("echo/1.0.0", pool("1.0.0"));
            assert_eq!(pools.find("echo/1.0.0"), Some(key));
            pools.touch(key);
            pools.touch(key);
            assert_eq!(pools.take_touched(), [key]);
            pools.set_due(key, 100, 16);
            assert_eq!(pools.take_due(u64::MAX), [], "in cycle {cycle}");
            assert!(!pools.reap(key), "it is offered");
            pools[key].instances.push(1);
            pools.set_due(key, 100, 16);
            pools.set_due(key, 200, 16);
            assert_eq!(
                (pools.take_due(199), pools.take_due(200)),
                (vec![], vec![key])
            );
            pools[key].closed = Some("gone".to_owned());
            assert!(!pools.reap(key), "it has an instance");
            pools[key].instances.clear();
            pools.set_due(key, 300, 16);
            assert!(pools.reap(key) && pools.get_mut(key).is_none());
        }
        assert!(pools.pools.is_empty() && pools.by_name.is_empty());
        assert!(pools.due.is_empty() && pools.touched.is_empty());
    }

    #[test]
    fn what_is_due_when() {
        let mut waking = pool("1");
        waking.active = true;
        let mut broken = pool("2");
        broken.active = true;
        broken.broken = Some("why".to_owned());
        broken.start_after_ms = 30_000;
        broken.rejections_left = 16;
        let mut rejecting = pool("3");
        rejecting.broken = Some("why".to_owned());
        let mut crashed = pool("4");
        crashed.stage = Stage::Prepared;
        crashed.start_after_ms = 500;
        let mut calm = pool("5");
        calm.stage = Stage::Prepared;
        calm.active = true;
        let mut fetching = pool("6");
        fetching.stage = Stage::Fetching;
        let mut rolled_back = pool("7");
        rolled_back.broken = Some("why".to_owned());
        rolled_back.start_after_ms = 30_000;
        rolled_back.rejections_left = 16;
        assert_eq!(rolled_back.refuses(29_999), Some("why"));
        assert_eq!(rolled_back.refuses(30_000), None);
        assert_eq!(broken.refuses(30_000), Some("why"));
        let table = [
            (waking, 0),
            (rolled_back, u64::MAX),
            (broken, 30_000),
            (rejecting, 100),
            (crashed, 500),
            (calm, u64::MAX),
            (fetching, u64::MAX),
        ];
        for (pool, want) in table {
            assert_eq!(pool.next_due_ms(100, 16), want, "{}", pool.version);
        }
    }
}
