//! One device behind its gateway: reads that may be repeated, one write that is not, and whether it is the right device.

use crate::batch::{self, Batch};
use crate::exception;
use crate::frame::{Read, Reply, Write};
use crate::gateway::{Answer, Gateway, How, Lost};
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

/// What of the points that the device has refused lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    LeaveOut,
    /// A person asks for them by name.
    AskAgain,
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
        Ok(self.exchange(read).await?)
    }

    async fn exchange(&self, read: Read) -> Result<Result<Reply, u8>, Lost> {
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
                Err(Lost::Unanswered {
                    how: How::Stale, ..
                }) if !was_stale => was_stale = true,
                Err(Lost::Unanswered { .. }) if left > 0 => left -= 1,
                Err(lost) => return Err(lost),
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
        refused: Refused,
        raws: &mut BTreeMap<usize, Raw>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), Trouble> {
        let known = &self.known;
        let points = &known.map.points;
        let mut learnt = known.learnt();
        if refused == Refused::AskAgain {
            learnt.refused.retain(|at| !wanted.contains(at));
        }
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
        let mut gaps = Vec::new();
        self.values(&wanted, Refused::AskAgain, &mut raws, &mut gaps)
            .await?;
        let mut facts = BTreeMap::new();
        for at in wanted {
            if let (Some(name), Some(fact)) = (&map.points[at].fact, map.fact(at, &raws)) {
                let text = fact
                    .as_str()
                    .map_or_else(|| fact.to_string(), str::to_owned);
                facts.insert(name.clone(), text);
            }
        }
        // Asked only for what the registers do not tell: not every device knows the function.
        if known.identity.keys().any(|name| !facts.contains_key(name)) {
            match self.ask_identification().await? {
                Asked::Told(objects) => {
                    for (name, text) in facts_of(&objects) {
                        facts.entry(name).or_insert(text);
                    }
                }
                Asked::Denied => {}
                // Silence is no other device.
                Asked::Lost(lost) => return Err(lost.into()),
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
    /// To be asked after other requests were answered: then silence means that it has none.
    ///
    /// # Errors
    /// When it is busy or the gateway does not reach it: then it is asked again next time.
    pub async fn identification(&self) -> Result<BTreeMap<String, String>, Trouble> {
        if let Some(facts) = self.known.identified() {
            return Ok(facts);
        }
        let facts = match self.ask_identification().await? {
            Asked::Told(objects) => facts_of(&objects),
            Asked::Denied | Asked::Lost(Lost::Unanswered { .. }) => BTreeMap::new(),
            Asked::Lost(lost) => return Err(lost.into()),
        };
        self.known.identify(facts.clone());
        Ok(facts)
    }

    async fn ask_identification(&self) -> Result<Asked, Trouble> {
        if !self.known.map.identify {
            return Ok(Asked::Denied);
        }
        // Regular, or basic for those who know only that.
        match self.objects(2).await? {
            Asked::Denied => self.objects(1).await,
            asked => Ok(asked),
        }
    }

    async fn objects(&self, level: u8) -> Result<Asked, Trouble> {
        let mut objects = BTreeMap::new();
        let mut object = 0;
        for _ in 0..IDENTIFICATION_PARTS_MAX {
            let part = match self.exchange(Read::Identification { level, object }).await {
                Ok(Ok(Reply::Identification(part))) => part,
                Ok(Ok(_)) => break,
                Ok(Err(code)) => {
                    let failure = exception::of_read(code, "identification");
                    if failure.code.retried_blindly() {
                        return Err(failure.into());
                    }
                    return Ok(Asked::Denied);
                }
                Err(lost) => return Ok(Asked::Lost(lost)),
            };
            objects.extend(part.objects);
            match part.next {
                Some(next) if next > object => object = next,
                _ => break,
            }
        }
        Ok(Asked::Told(objects))
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub fn known(&self) -> &Known {
        &self.known
    }
}

/// What came of a request for the identification.
enum Asked {
    Told(BTreeMap<u8, String>),
    Denied,
    Lost(Lost),
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
