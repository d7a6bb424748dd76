//! The site: logic, execution environments, broker, store and targets, and the hand that starts and breaks them.

mod blobs;
mod faults;
mod record;

use crate::broker::{SimBroker, Wire};
use crate::life::{self, Life};
use crate::plan::{Ask, Cut, Fault, Plan, VERSIONS};
use crate::store::SimStore;
use crate::trap::Traps;
use crate::worker::SimRuntime;
use crate::world::{self, note};
use blobs::{AllBlobs, NoBundles};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use record::put;
use sengu_execution::{Runtime, WeeConfig, WeeHandle};
use sengu_logic::leader::{Seat, stand_by};
use sengu_logic::{Logic, LogicConfig, StartError};
use sengu_model::kinds::ScheduleSpec;
use sengu_model::manifest::Manifest;
use sengu_model::record::API_VERSION;
use sengu_model::seal::SealKey;
use sengu_model::wire::envelope::WorkerOffer;
use sengu_model::{Metadata, Record, Time, Uid};
use sengu_store::blobs::{BlobError, BlobWriter, Blobs};
use sengu_store::{Expect, Op};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Nobody asks for anything on this target but the check of progress.
pub const SPARE: &str = "spare";
/// With two processes of logic, the other one is active within this.
const TAKEN_OVER_MS: u64 = 5_000;
/// Nobody waits longer for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// A program that has died is looked for this often by what starts it again.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// One process of logic. Of two, one is the active one and the other stands by.
pub struct LogicLife {
    life: Arc<Life>,
    traps: Arc<Traps>,
    /// Once it is the active one.
    logic: Option<(Arc<Seat>, Arc<Logic>)>,
    /// Of this life, from 1.
    number: u64,
    /// How long the next life is waited for.
    away_ms: u64,
}

pub struct WeeLife {
    pub life: Arc<Life>,
    runtime: SimRuntime,
    _handle: Option<WeeHandle>,
}

/// A task that was acknowledged.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: sengu_model::TaskId,
    pub target: String,
    pub action: &'static str,
}

#[derive(Default)]
pub struct Acknowledged {
    pub tasks: Vec<Asked>,
    /// Runs by name, with their action.
    pub runs: Vec<(String, &'static str)>,
    /// Requests that nobody has answered yet.
    pub open: u64,
}

#[derive(Clone)]
pub struct Site(pub Arc<Inner>);

impl std::ops::Deref for Site {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub struct Inner {
    pub store: SimStore,
    pub broker: SimBroker,
    logics: Mutex<Vec<LogicLife>>,
    pub wees: Mutex<BTreeMap<u32, WeeLife>>,
    pub asked: Mutex<Acknowledged>,
    pub plan: Plan,
    /// Clocks of the wall: of logic and of execution.
    offsets: Mutex<(i64, i64)>,
    /// Everything mends, and nothing breaks any more.
    healed: Mutex<bool>,
}

impl Site {
    pub async fn build(plan: &Plan) -> Site {
        let site = Site(Arc::new(Inner {
            store: SimStore::default(),
            broker: SimBroker::default(),
            logics: Mutex::new((0..plan.logics).map(|_| LogicLife::none()).collect()),
            wees: Mutex::default(),
            asked: Mutex::default(),
            plan: plan.clone(),
            offsets: Mutex::new((0, 0)),
            healed: Mutex::new(false),
        }));
        site.store.set_mood(|m| m.commit_ms = plan.commit_ms);
        site.declare();
        for party in site.parties() {
            site.broker.change(&party, |wire| {
                wire.doubled = plan.doubled;
                wire.overtaken = plan.overtaken;
            });
        }
        for which in 0..plan.logics as usize {
            site.start_logic(which);
            tokio::spawn(site.clone().restart_logic(which));
        }
        for wee in 0..plan.wees {
            site.start_wee(wee);
        }
        site
    }

    fn parties(&self) -> Vec<String> {
        let wees = (0..self.plan.wees).map(wee_name);
        let logics = (0..self.plan.logics as usize).map(logic_name);
        logics.chain(wees).collect()
    }

    /// Targets and schedules, as if they had been applied long ago.
    fn declare(&self) {
        let mut ops = Vec::new();
        let names = (0..self.plan.targets).map(target_name);
        for (n, name) in names.chain([SPARE.to_owned()]).enumerate() {
            world::with(|w| {
                let target = w.targets.all.entry(name.clone()).or_default();
                target.limit = self.plan.sessions;
            });
            let labels = BTreeMap::from([("rack".to_owned(), format!("r{}", n % 10))]);
            ops.push(put(
                "Target",
                &name,
                1_000 + n as u64,
                labels,
                json!({
                    "kind": "toy", "zone": "default", "address": "a",
                }),
            ));
        }
        if self.plan.observe_every_s > 0 {
            let spec = ScheduleSpec {
                selector: "rack".to_owned(),
                every: sengu_model::quantity::Duration {
                    ms: self.plan.observe_every_s * 1_000,
                },
                jitter: None,
                action: "observe".to_owned(),
                params: serde_json::Value::Null,
                paused: false,
            };
            let spec = serde_json::to_value(spec).unwrap_or_default();
            ops.push(put("Schedule", "all", 1, BTreeMap::new(), spec));
        }
        if self.store.fill(&ops.into()).is_err() {
            note!("the inventory was refused");
        }
    }

    pub fn logic_config(&self) -> LogicConfig {
        LogicConfig {
            seal_key: SealKey([7; 32]),
            tokens: sengu_logic::Tokens {
                operator: "token".to_owned(),
                viewer: "viewer".to_owned(),
            },
            bundled: VERSIONS.iter().map(|v| self.offer(v)).collect(),
            bundles: Arc::new(NoBundles),
            blobs: Arc::new(AllBlobs),
            sengu_version: "0".to_owned(),
            interconnect: "embedded".to_owned(),
            roles: Vec::new(),
            retention_ms: 86_400_000,
            audit_retention_ms: 86_400_000,
            followers: Vec::new(),
            moving: None,
        }
    }

    fn offer(&self, version: &str) -> WorkerOffer {
        let plan = &self.plan;
        let manifest = json!({
            "name": "toy", "version": version, "protocol": 1, "command": ["./toy"],
            "slots": plan.slots, "limits": {"sessions": plan.sessions, "cooldown_ms": 500},
            "pool": {"warm": 1, "max": plan.instances, "idle_ms": 30_000, "max_tasks": 0,
                "max_age_ms": 0, "reserve": 0},
            "action": [
                {"name": "observe", "effect": "read", "timeout_ms": 4_000},
                {"name": "set", "effect": "idempotent", "timeout_ms": 6_000},
                {"name": "cycle", "effect": "probe", "probe": "cycled", "timeout_ms": 6_000},
                {"name": "cycled", "effect": "read", "internal": true, "timeout_ms": 4_000},
                {"name": "fire", "effect": "once", "timeout_ms": 6_000},
            ],
        });
        let manifest: Manifest =
            serde_json::from_value(manifest).expect("the manifest has the right form");
        WorkerOffer {
            v: 1,
            pool: manifest.pool,
            manifest,
            digest: digest_of(version),
            bytes: 1,
            active: false,
        }
    }

    fn start_logic(&self, which: usize) {
        let offset = self.offsets.lock().0;
        let (life, traps, number) = {
            let mut logics = self.logics.lock();
            let number = logics[which].number + 1;
            let life = Life::new(&format!("{}/{number}", logic_name(which)), offset);
            let traps = Arc::new(Traps::default());
            logics[which] = LogicLife {
                life: life.clone(),
                traps: traps.clone(),
                logic: None,
                number,
                away_ms: 10,
            };
            (life, traps, number)
        };
        note!("{} starts", life.name);
        let config = self.logic_config();
        let store = self.store.seen_by(&life, traps.clone());
        let name = logic_name(which);
        let broker = self.broker.seen_with_traps(&name, &life, traps);
        let alone = self.plan.logics == 1;
        let starting = life.run(async move {
            let seat = match alone {
                true => Seat::alone(store.as_ref()).await?,
                false => {
                    let holder = watch::Sender::new(None);
                    stand_by(store.as_ref(), &name, "", &holder).await?
                }
            };
            let logic = Logic::start_in(seat.clone(), config, store, broker).await?;
            Ok::<_, StartError>((seat, logic))
        });
        let site = self.clone();
        tokio::spawn(async move {
            let started = starting.await;
            match started {
                Some(Ok((seat, logic))) => {
                    note!("{} is active, epoch {}", life.name, seat.epoch);
                    // Of what the life before it had sent, it knows nothing or only some.
                    site.orphan_all();
                    world::with(|w| {
                        w.epochs += 1;
                        w.epoch = w.epoch.max(seat.epoch);
                    });
                    let mut lost = seat.lost();
                    {
                        let mut logics = site.logics.lock();
                        if logics[which].number != number {
                            return;
                        }
                        logics[which].logic = Some((seat, logic));
                    }
                    // Its process ends when it has lost the seat, and begins anew as the one that stands by.
                    let own = life.clone();
                    let watching = life.run(async move {
                        let _ = lost.wait_for(|lost| *lost).await;
                        note!("{} has lost its seat", own.name);
                        own.kill();
                    });
                    watching.await;
                }
                Some(Err(error)) => {
                    note!("{} did not start: {error}", life.name);
                    site.logics.lock()[which].away_ms = 1_000;
                    life.kill();
                }
                None => {}
            }
        });
    }

    /// What starts logic again when it has died.
    async fn restart_logic(self, which: usize) {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let (dead, away_ms) = {
                let logics = self.logics.lock();
                (logics[which].life.is_dead(), logics[which].away_ms)
            };
            if dead {
                self.orphan_all();
                tokio::time::sleep(Duration::from_millis(away_ms)).await;
                self.start_logic(which);
            }
        }
    }

    /// The process of logic that is active, or else the first.
    fn active(&self) -> usize {
        let logics = self.logics.lock();
        logics.iter().position(LogicLife::is_active).unwrap_or(0)
    }

    fn start_wee(&self, number: u32) {
        let offset = self.offsets.lock().1;
        let name = wee_name(number);
        let life = Life::new(&name, offset);
        let broker = self.broker.seen_by(&name, &life);
        let runtime = SimRuntime::new(&name, &life);
        note!("{name} starts");
        let born_ms = life::START_MS + life::elapsed_ms() as i64;
        let config = WeeConfig {
            name: name.clone(),
            zone: "default".to_owned(),
            labels: BTreeMap::new(),
            life: born_ms as u64 * 1_000,
            embedded: false,
            sengu_version: "0".to_owned(),
            bundled: VERSIONS
                .iter()
                .map(|v| (digest_of(v), PathBuf::from("/nowhere")))
                .collect::<HashMap<_, _>>(),
            // No image comes over the interconnect.
            cache: PathBuf::from("/dev/null/none"),
            seal_key: None,
        };
        let runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(runtime.clone())];
        let site = self.clone();
        let (own, starting) = (life.clone(), runtime.clone());
        let started = life.run(async move {
            let handle = sengu_execution::start(config, broker, runtimes);
            let wee = WeeLife {
                life: own,
                runtime: starting,
                _handle: Some(handle),
            };
            site.wees.lock().insert(number, wee);
        });
        self.wees.lock().insert(
            number,
            WeeLife {
                life,
                runtime,
                _handle: None,
            },
        );
        tokio::spawn(started);
    }

    /// Carries out what is planned, up to the end of the last fault.
    pub async fn follow(&self, plan: &Plan) {
        for (at, ask) in plan.asks.clone() {
            let site = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                site.ask(ask).await;
            });
        }
        for (at, fault) in plan.faults.clone() {
            let site = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                site.fault(fault).await;
            });
        }
        let end = plan.faults_end_ms().max(plan.asks_end_ms()) + 1;
        tokio::time::sleep(Duration::from_millis(end)).await;
    }

    /// Asks as people do: of the logic that is there, and without a second try.
    async fn ask(&self, ask: Ask) {
        let Some((life, logic)) = self.logic_now() else {
            note!("nobody is there to ask for {ask:?}");
            return;
        };
        note!("asked for {ask:?}");
        self.asked.lock().open += 1;
        let site = self.clone();
        // As behind the API: whoever asked may go away, and it is carried out all the same.
        let answered = tokio::spawn(life.run(async move { site.carry(&logic, ask).await }));
        let answered = tokio::time::timeout(ANSWER_MAX, answered).await;
        if !matches!(answered, Ok(Ok(Some(())))) {
            note!("a request was not answered");
        }
        self.asked.lock().open -= 1;
    }

    async fn carry(&self, logic: &Logic, ask: Ask) {
        let done: Result<(), String> = match ask {
            Ask::Tasks {
                action,
                first,
                count,
                start_within_s,
            } => {
                let mut request = json!({"action": action, "targets": self.names(first, count)});
                if start_within_s > 0 {
                    request["startWithin"] = json!(format!("{start_within_s}s"));
                }
                match serde_json::from_value(request) {
                    Ok(request) => match logic.create_tasks(request).await {
                        Ok(created) => {
                            let mut asked = self.asked.lock();
                            asked.tasks.extend(created.into_iter().map(|c| Asked {
                                id: c.id,
                                target: c.target,
                                action,
                            }));
                            Ok(())
                        }
                        Err(problem) => Err(format!("{problem:?}")),
                    },
                    Err(error) => Err(error.to_string()),
                }
            }
            Ask::Run {
                action,
                first,
                count,
                batch,
                max_fail,
            } => {
                let mut spec =
                    json!({"action": action, "targets": self.names(first, count), "batch": batch});
                if let Some(max_fail) = max_fail {
                    spec["maxFail"] = json!(max_fail);
                }
                match serde_json::from_value(spec) {
                    Ok(spec) => match logic.create_run(spec).await {
                        Ok(record) => {
                            let mut asked = self.asked.lock();
                            asked.runs.push((record.metadata.name, action));
                            Ok(())
                        }
                        Err(problem) => Err(format!("{problem:?}")),
                    },
                    Err(error) => Err(error.to_string()),
                }
            }
            Ask::CancelTask(n) => {
                let task = pick(&self.asked.lock().tasks, n).map(|t| t.id);
                match task {
                    Some(id) => as_text(logic.cancel_task(id).await),
                    None => Ok(()),
                }
            }
            Ask::CancelRun(n) => {
                let run = pick(&self.asked.lock().runs, n).map(|r| r.0.clone());
                match run {
                    Some(run) => as_text(logic.cancel_run(&run).await),
                    None => Ok(()),
                }
            }
            Ask::RetryRun(n) => {
                let run = pick(&self.asked.lock().runs, n).map(|r| r.0.clone());
                match run {
                    Some(run) => as_text(logic.retry_run(&run, false).await),
                    None => Ok(()),
                }
            }
            Ask::Promote(version) => {
                let wanted = json!({"version": version, "unguarded": true, "replace": true});
                match serde_json::from_value(wanted) {
                    Ok(wanted) => as_text(logic.promote("toy", wanted).await),
                    Err(error) => Err(error.to_string()),
                }
            }
            Ask::Rollback => match serde_json::from_value(json!({})) {
                Ok(wanted) => as_text(logic.rollback("toy", wanted).await),
                Err(error) => Err(error.to_string()),
            },
            Ask::Maintenance(n, on) => {
                let mut spec = json!({"kind": "toy", "zone": "default", "address": "b"});
                if on {
                    spec["maintenance"] = json!("it is mended");
                }
                self.edit(logic, &target_name(n), &spec).await
            }
            Ask::Delete(n) => as_text(logic.delete("Target", &target_name(n), None).await),
            Ask::Uncordon => {
                for n in 0..self.plan.targets.min(200) {
                    let _ = logic.uncordon(&target_name(n)).await;
                }
                Ok(())
            }
        };
        if let Err(why) = done {
            note!("refused: {why}");
        }
    }

    /// Writes a target anew.
    pub async fn edit(
        &self,
        logic: &Logic,
        name: &str,
        spec: &serde_json::Value,
    ) -> Result<(), String> {
        let document = json!({"apiVersion": API_VERSION, "kind": "Target",
            "metadata": {"name": name, "labels": {"rack": "r0"}}, "spec": spec});
        let source = sengu_logic::documents::Source {
            name: "sim".to_owned(),
            text: document.to_string(),
        };
        let documents = sengu_logic::documents::read(&[source]).map_err(|p| format!("{p:?}"))?;
        as_text(logic.apply(documents, false).await)
    }

    fn names(&self, first: u32, count: u32) -> Vec<String> {
        let count = count.min(self.plan.targets);
        let all = (first..first + count).map(|n| target_name(n % self.plan.targets));
        all.collect()
    }

    /// The active logic.
    pub fn logic_now(&self) -> Option<(Arc<Life>, Arc<Logic>)> {
        let logics = self.logics.lock();
        let active = logics.iter().find(|l| l.is_active())?;
        let (_, logic) = active.logic.as_ref()?;
        Some((active.life.clone(), logic.clone()))
    }
}

impl LogicLife {
    fn none() -> LogicLife {
        LogicLife {
            life: Life::new("no logic", 0),
            traps: Arc::default(),
            logic: None,
            number: 0,
            away_ms: 10,
        }
    }

    fn is_active(&self) -> bool {
        let holds = |(seat, _): &(Arc<Seat>, Arc<Logic>)| seat.holds();
        !self.life.is_dead() && !self.life.is_held() && self.logic.as_ref().is_some_and(holds)
    }
}

pub fn logic_name(number: usize) -> String {
    format!("logic-{number}")
}

fn set(wire: &mut Wire, how: Cut, on: bool) {
    match how {
        Cut::Away => wire.away = on,
        Cut::Swallowed => wire.swallows = on,
        Cut::Mute => wire.mute = on,
        Cut::Deaf => wire.deaf = on,
    }
}

fn pick<T>(of: &[T], n: u32) -> Option<&T> {
    of.get(n as usize % of.len().max(1))
}

fn as_text<T>(result: Result<T, sengu_model::problem::Problem>) -> Result<(), String> {
    result.map(|_| ()).map_err(|problem| format!("{problem:?}"))
}

pub fn wee_name(number: u32) -> String {
    format!("wee-{number}")
}

pub fn target_name(number: u32) -> String {
    format!("t{number}")
}

fn digest_of(version: &str) -> String {
    let last = version
        .bytes()
        .fold(0_u64, |sum, b| sum * 31 + u64::from(b));
    format!("sha256:{last:064x}")
}
