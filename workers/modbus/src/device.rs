//! One device behind its gateway: reads that may be repeated, one write that is not, and whether it is the right device.

use crate::batch::{self, Batch};
use crate::exception;
use crate::frame::{Read, Reply, Write};
use crate::gateway::{Answer, Gateway, Lost};
use crate::map::Value;
use crate::targets::Known;
use crate::trouble::Trouble;
use crate::value::Raw;
use sengu_sdk::FailureCode;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of one identification; a device that always says "more" must not hold us.
const IDENTIFICATION_PARTS_MAX: usize = 8;
/// By identification object: vendor name, product code, revision, vendor URL, product name, model name.
const OBJECTS: [(u8, &str); 5] = [
    (0, "vendor"),
    (2, "firmware"),
    // The more telling name wins.
    (1, "model"),
    (4, "model"),
    (5, "model"),
];

/// Points that could not be read, and why.
pub struct Gap {
    pub points: Vec<String>,
    pub why: String,
}

pub struct Device {
    known: Arc<Known>,
    gateway: Arc<Gateway>,
    /// Of the last answer.
    connection: AtomicU64,
}

impl Device {
    pub fn new(known: Arc<Known>, gateway: Arc<Gateway>) -> Device {
        Device {
            known,
            gateway,
            connection: AtomicU64::new(0),
        }
    }

    fn unit(&self) -> u8 {
        self.known.config.unit
    }

    /// Sends a read, again if it is lost, as often as the target's config says.
    async fn read(&self, read: Read) -> Result<Result<Reply, u8>, Trouble> {
        let pace = self.known.config.pace();
        let mut left = self.known.config.retries;
        let mut was_stale = false;
        loop {
            match self.gateway.exchange(self.unit(), &read, &pace, None).await {
                Ok(Answer { reply, connection }) => {
                    self.connection.store(connection, Ordering::Relaxed);
                    return Ok(reply);
                }
                // The gateway had closed the idle connection: that is not the device's fault.
                Err(Lost::Unanswered { stale: true, .. }) if !was_stale => was_stale = true,
                Err(Lost::Unanswered { .. }) if left > 0 => left -= 1,
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// Sends a write once, over the connection of the last read. Nothing in this kind sends it again.
    pub async fn write(&self, write: Write) -> Result<Answer, Lost> {
        let pace = self.known.config.pace();
        let connection = self.connection.load(Ordering::Relaxed);
        self.gateway
            .exchange(self.unit(), &write, &pace, Some(connection))
            .await
    }

    async fn batch(&self, batch: &Batch) -> Result<Result<Reply, u8>, Trouble> {
        let read = Read::Values {
            table: batch.table,
            address: batch.address,
            count: batch.count,
        };
        self.read(read).await
    }

    /// Reads the points `wanted` into `raws`, in as few requests as the device bears; `gaps` gets what it does not give.
    ///
    /// # Errors
    /// When the device as a whole is busy or out of reach. What was read until then is in `raws`.
    pub async fn values(
        &self,
        wanted: &[usize],
        raws: &mut BTreeMap<usize, Raw>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), Trouble> {
        let known = &self.known;
        let points = &known.map.points;
        let mut learnt = known.learnt();
        let plan = batch::plan(&known.places, wanted, known.limits(), &learnt);
        let mut queue = VecDeque::from(plan);
        while let Some(batch) = queue.pop_front() {
            let code = match self.batch(&batch).await? {
                Ok(reply) => {
                    for at in &batch.points {
                        if let Some(raw) = points[*at].raw(batch.address, &reply) {
                            raws.insert(*at, raw);
                        }
                    }
                    continue;
                }
                Err(code) => code,
            };
            let what = format!("{} {}+{}", batch.table, batch.address, batch.count);
            let failure = exception::of_read(code, &what);
            if exception::may_be_split(code) {
                for part in learnt.split(&known.places, &batch).into_iter().rev() {
                    queue.push_front(part);
                }
                known.learn(learnt.clone());
            } else if failure.code == FailureCode::Refused {
                learnt.refused.extend(&batch.points);
                known.learn(learnt.clone());
            } else if failure.code == FailureCode::BadReply {
                let names = batch.points.iter().map(|at| points[*at].name.clone());
                gaps.push(Gap {
                    points: names.collect(),
                    why: failure.message,
                });
            } else {
                return Err(failure.into());
            }
        }
        let refused = wanted.iter().filter(|at| learnt.refused.contains(at));
        let refused = refused.map(|at| &points[*at]).filter(|p| !p.optional);
        let names: Vec<String> = refused.map(|p| p.name.clone()).collect();
        if !names.is_empty() {
            gaps.push(Gap {
                points: names,
                why: "the device refuses these registers".to_owned(),
            });
        }
        Ok(())
    }

    /// The present value of one point, which must be there.
    ///
    /// # Errors
    /// As the device says, or when the value is not available.
    pub async fn value(&self, at: usize) -> Result<Value, Trouble> {
        let known = &self.known;
        let mut raws = BTreeMap::new();
        // Without what was learnt: a single point is asked for in any case.
        for at in known.map.with_exponents(vec![at]) {
            let (point, place) = (&known.map.points[at], known.places[at]);
            let batch = Batch {
                table: place.table,
                address: place.address,
                count: place.count,
                points: vec![at],
            };
            match self.batch(&batch).await? {
                Ok(reply) => {
                    raws.extend(point.raw(place.address, &reply).map(|raw| (at, raw)));
                }
                Err(code) => return Err(exception::of_read(code, &point.name).into()),
            }
        }
        known.map.value(at, &raws).ok_or_else(|| {
            let name = &known.map.points[at].name;
            Trouble::bad_reply(format!("{name} reads as not available"))
        })
    }

    /// Makes sure that this is the device that the target's Record and map mean.
    ///
    /// # Errors
    /// `refused` when it is not what the map is for, `identity_mismatch` when it is not the pinned one.
    pub async fn meet(&self) -> Result<(), Trouble> {
        let known = &self.known;
        if known.map.checks.is_empty() && known.identity.is_empty() {
            return Ok(());
        }
        let connection = self.connection.load(Ordering::Relaxed);
        if connection != 0 && known.met_on(connection) {
            return Ok(());
        }
        for check in &known.map.checks {
            let place = check.place;
            let read = Read::Values {
                table: place.table,
                address: place.address,
                count: place.count,
            };
            let what = format!("{} {}", place.table, place.address);
            match self.read(read).await? {
                Ok(reply) => check.holds(&reply).map_err(|is| {
                    Trouble::refused(format!("not a device for this map: {what} holds {is}"))
                })?,
                Err(code) => return Err(exception::of_read(code, &what).into()),
            }
        }
        if !known.identity.is_empty() {
            self.compare().await?;
        }
        known.meet(self.connection.load(Ordering::Relaxed));
        Ok(())
    }

    /// Whether the last answer came over a connection on which the device was not met.
    pub fn is_unmet(&self) -> bool {
        let known = &self.known;
        let concerned = !known.map.checks.is_empty() || !known.identity.is_empty();
        concerned && !known.met_on(self.connection.load(Ordering::Relaxed))
    }

    async fn compare(&self) -> Result<(), Trouble> {
        let known = &self.known;
        let map = &known.map;
        let pinned = |at: &usize| {
            let fact = map.points[*at].fact.as_ref();
            fact.is_some_and(|fact| known.identity.contains_key(fact))
        };
        let wanted = map.with_exponents((0..map.points.len()).filter(pinned).collect());
        let mut raws = BTreeMap::new();
        self.values(&wanted, &mut raws, &mut Vec::new()).await?;
        let mut facts = self.ask_identification().await?;
        for at in wanted {
            if let (Some(name), Some(fact)) = (&map.points[at].fact, map.fact(at, &raws)) {
                let text = fact
                    .as_str()
                    .map_or_else(|| fact.to_string(), str::to_owned);
                facts.insert(name.clone(), text);
            }
        }
        for (name, expected) in &known.identity {
            match facts.get(name) {
                Some(told) if told == expected => {}
                Some(told) => {
                    return Err(Trouble::mismatch(format!(
                        "{name} is {told:?}, and {expected:?} is pinned"
                    )));
                }
                None => {
                    return Err(Trouble::mismatch(format!(
                        "the device tells no {name}, and {expected:?} is pinned"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Facts from the device's own identification; none when it has no such function, which is no fault.
    ///
    /// # Errors
    /// When it is busy or out of reach.
    pub async fn identification(&self) -> Result<BTreeMap<String, String>, Trouble> {
        if let Some(facts) = self.known.identified() {
            return Ok(facts);
        }
        let asked = self.ask_identification().await;
        // Devices without it deny it, or say nothing: neither is asked for again soon.
        self.known
            .identify(asked.as_ref().map(Clone::clone).unwrap_or_default());
        asked
    }

    async fn ask_identification(&self) -> Result<BTreeMap<String, String>, Trouble> {
        if !self.known.map.identify {
            return Ok(BTreeMap::new());
        }
        // Regular, or basic for those who know only that.
        for level in [2, 1] {
            if let Some(objects) = self.objects(level).await? {
                return Ok(facts_of(&objects));
            }
        }
        Ok(BTreeMap::new())
    }

    async fn objects(&self, level: u8) -> Result<Option<BTreeMap<u8, String>>, Trouble> {
        let mut objects = BTreeMap::new();
        let mut object = 0;
        for _ in 0..IDENTIFICATION_PARTS_MAX {
            match self.read(Read::Identification { level, object }).await? {
                Ok(Reply::Identification(part)) => {
                    objects.extend(part.objects);
                    match part.next {
                        Some(next) if next > object => object = next,
                        _ => break,
                    }
                }
                Ok(_) => break,
                Err(code) => {
                    let failure = exception::of_read(code, "identification");
                    let passing = failure.code.retried_blindly();
                    return if passing {
                        Err(failure.into())
                    } else {
                        Ok(None)
                    };
                }
            }
        }
        Ok(Some(objects))
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub fn known(&self) -> &Known {
        &self.known
    }
}

fn facts_of(objects: &BTreeMap<u8, String>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for (object, fact) in OBJECTS {
        if let Some(text) = objects.get(&object).filter(|text| !text.is_empty()) {
            facts.insert(fact.to_owned(), text.clone());
        }
    }
    facts
}
