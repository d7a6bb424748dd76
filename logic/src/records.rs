//! Writing declared records: all or nothing per set, checked against what can be done, secrets sealed.

use crate::audit::Act;
use crate::catalog::clip;
use crate::clock;
use crate::core::Logic;
use crate::dispatch::Input;
use crate::documents::{Document, Spec, WRITABLE_KINDS, wrong};
use crate::inventory::{Inventory, Other, Target};
use crate::releases;
use sengu_model::problem::{Code, Fault, Problem};
use sengu_model::seal;
use sengu_model::{Record, Time, Uid};
use sengu_store::{Expect, Op, StoreError};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What applying did to one record.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub kind: String,
    pub name: String,
    /// `created`, `configured` or `unchanged`.
    pub change: &'static str,
    pub revision: Option<u64>,
    pub place: String,
    /// With a dry run: the record before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Record>,
}

/// Store errors as the caller sees them.
pub fn store_problem(error: StoreError) -> Problem {
    match &error {
        StoreError::Conflict { kind, name, found } => {
            let at = found.map_or("gone".to_owned(), |r| format!("at revision {r}"));
            Problem::new(Code::Conflict, format!("{kind}/{name} is {at}"))
                .hint("read it again and repeat your change")
        }
        StoreError::Compacted { oldest } => Problem::new(
            Code::Gone,
            format!("changes before revision {oldest} are no longer kept"),
        )
        .hint("list again and watch from the revision that the list gives"),
        StoreError::Unavailable(source) => {
            tracing::error!(
                error = &**source as &dyn std::error::Error,
                "the store cannot write"
            );
            let what = "the store cannot write; nothing was changed";
            Problem::new(Code::StoreUnavailable, what).hint(
                "is the disk full? see the log of sengu; it goes on by itself when there is room",
            )
        }
        StoreError::Closed => Problem::new(Code::Unavailable, "sengu is stopping"),
        StoreError::Fenced { .. } => {
            let what = "another sengu has taken over; nothing was changed";
            Problem::new(Code::Unavailable, what).hint("ask that one")
        }
        StoreError::Unsettled => Problem::new(Code::Unsettled, error.to_string())
            .hint("look whether it is there before you ask again"),
        StoreError::Behind => Problem::new(Code::Unavailable, error.to_string())
            .hint("nothing was changed; sengu reads it anew: ask again in a moment"),
        StoreError::InUse { .. }
        | StoreError::Moved { .. }
        | StoreError::Unfinished { .. }
        | StoreError::Broken { .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "store");
            Problem::new(Code::Internal, "the store is broken; see the log of sengu")
        }
    }
}

struct Change {
    record: Record,
    spec: Spec,
    body: String,
    uid: Uid,
    expect: Expect,
    act: Act,
}

impl Logic {
    /// Applies a set of documents: all of them or none.
    ///
    /// # Errors
    /// A problem that names every wrong place; nothing has changed.
    pub async fn apply(
        &self,
        documents: Vec<Document>,
        dry_run: bool,
    ) -> Result<(Vec<Applied>, u64), Problem> {
        let _one_writer = self.shared.writes.lock().await;
        self.check_set(&documents)?;
        let now = clock::now();
        let mut results = Vec::with_capacity(documents.len());
        let mut changes = Vec::new();
        for document in documents {
            let (applied, change) = self.plan(document, now, dry_run)?;
            if let Some(change) = change {
                changes.push((results.len(), change));
            }
            results.push(applied);
        }
        if dry_run || changes.is_empty() {
            return Ok((results, *self.shared.revision.borrow()));
        }
        let puts = changes.iter().map(|(_, c)| Op::PutRecord {
            kind: c.record.kind.clone(),
            name: c.record.metadata.name.clone(),
            uid: c.uid,
            expect: c.expect,
            body: c.body.clone().into(),
        });
        let acts = changes.iter().map(|(_, c)| c.act.op());
        let ops = puts.chain(acts).collect::<Vec<_>>();
        let committed = self
            .shared
            .store
            .commit(ops.into())
            .await
            .map_err(store_problem)?;
        let releases = changes
            .iter()
            .filter(|(_, c)| matches!(c.spec, Spec::Release(_)));
        let moved: Vec<String> = releases
            .map(|(_, c)| c.record.metadata.name.clone())
            .collect();
        let altered = changes.iter().map(|(_, c)| c);
        let altered: Vec<Uid> = altered
            .filter(|c| matches!(c.spec, Spec::Target(_)) && c.expect != Expect::Absent)
            .map(|c| c.uid)
            .collect();
        let mut uncordoned = Vec::new();
        {
            let mut inventory = self.shared.inventory.write();
            for ((at, change), revision) in changes.into_iter().zip(&committed.revisions) {
                results[at].revision = Some(*revision);
                take(&mut inventory, change, *revision, &mut uncordoned);
            }
        }
        self.shared.declared();
        self.shared.wrote(&committed.revisions);
        for kind in &moved {
            releases::follow(&self.shared, kind).await;
        }
        if !altered.is_empty() {
            self.dispatch.send(Input::Altered(altered)).await;
        }
        if !uncordoned.is_empty() {
            self.dispatch.send(Input::Uncordoned(uncordoned)).await;
        }
        Ok((results, *self.shared.revision.borrow()))
    }

    /// What is wrong with the set as a whole and with its references.
    fn check_set(&self, documents: &[Document]) -> Result<(), Problem> {
        let mut faults = Vec::new();
        let mut seen: HashMap<(&str, &str), &str> = HashMap::with_capacity(documents.len());
        let catalog = self.shared.catalog.read().clone();
        for document in documents {
            let (kind, name) = (
                document.record.kind.as_str(),
                document.record.metadata.name.as_str(),
            );
            if let Some(first) = seen.insert((kind, name), &document.place) {
                faults.push(Fault {
                    place: document.place.clone(),
                    code: Code::DuplicateName,
                    message: format!("{kind}/{name} is in the set twice, first at {first}"),
                    hint: Some("keep one of them".to_owned()),
                });
            }
        }
        let inventory = self.shared.inventory.read();
        for document in documents {
            if let Spec::Release(spec) = &document.spec {
                let name = &document.record.metadata.name;
                let versions = catalog.routes.get(name).map(|routes| &routes.versions);
                for (field, message) in crate::rollout::form::faults(name, spec, versions) {
                    faults.push(Fault {
                        place: format!("{} {field}", document.place),
                        code: Code::InvalidField,
                        message,
                        hint: Some("see: sengu explain Release".to_owned()),
                    });
                }
            }
            let Spec::Target(spec) = &document.spec else {
                continue;
            };
            let Some(kind) = catalog.kinds.get(&spec.kind) else {
                let known: Vec<&str> = catalog.kinds.keys().map(String::as_str).collect();
                faults.push(Fault {
                    place: format!("{} spec.kind", document.place),
                    code: Code::UnknownKind,
                    message: format!("no worker drives kind {:?}", clip(&spec.kind)),
                    hint: Some(format!("known: {}", known.join(", "))),
                });
                continue;
            };
            faults.extend(kind.target_faults(spec).into_iter().map(|mut fault| {
                fault.place = format!("{} {}", document.place, fault.place);
                fault
            }));
            if let Some(secret) = &spec.secret
                && !seen.contains_key(&("Secret", secret.as_str()))
                && inventory.other("Secret", secret).is_none()
            {
                faults.push(Fault {
                    place: format!("{} spec.secret", document.place),
                    code: Code::InvalidField,
                    message: format!("there is no Secret {:?}", clip(secret)),
                    hint: Some("apply the Secret first or in the same set".to_owned()),
                });
            }
            if faults.len() > 50 {
                break;
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(wrong(faults))
        }
    }

    fn plan(
        &self,
        document: Document,
        now: Time,
        dry_run: bool,
    ) -> Result<(Applied, Option<Change>), Problem> {
        let Document {
            mut record,
            spec,
            place,
        } = document;
        let (kind, name) = (record.kind.clone(), record.metadata.name.clone());
        let known = self.record(&kind, &name);
        let wanted = record.metadata.revision.take();
        let found = known.as_ref().and_then(|k| k.metadata.revision);
        if let Some(wanted) = wanted
            && found != Some(wanted)
        {
            return Err(store_problem(StoreError::Conflict { kind, name, found }));
        }
        record.metadata.uid = None;
        record.metadata.created_at = known
            .as_ref()
            .and_then(|k| k.metadata.created_at)
            .or(Some(now));
        if let Spec::Secret(secret) = &spec {
            record.spec = self.sealed_spec(&name, secret, known.as_ref())?;
        } else {
            // One form for one meaning, so that "unchanged" is seen.
            record.spec = match &spec {
                Spec::Target(t) => serde_json::to_value(t),
                Spec::Schedule(s) => serde_json::to_value(s),
                Spec::Secret(s) => serde_json::to_value(s),
                Spec::Release(r) => serde_json::to_value(r),
            }
            .unwrap_or_default();
        }
        if let Spec::Release(release) = &spec {
            record.status = crate::rollout::form::edited(known.as_ref(), release, now);
        }
        let same = known.as_ref().is_some_and(|k| {
            k.spec == record.spec
                && k.metadata.labels == record.metadata.labels
                && k.metadata.annotations == record.metadata.annotations
        });
        let change = match (&known, same) {
            (None, _) => "created",
            (Some(_), true) => "unchanged",
            (Some(_), false) => "configured",
        };
        let mut applied = Applied {
            kind,
            name,
            change,
            revision: found,
            place,
            before: None,
            after: None,
        };
        if dry_run {
            applied.before = known.clone().map(hide);
            applied.after = Some(hide(record.clone()));
        }
        if same {
            return Ok((applied, None));
        }
        let act =
            Act::new(change, &applied.kind, &applied.name).fields(known.as_ref(), Some(&record));
        let uid = known
            .and_then(|k| k.metadata.uid)
            .unwrap_or_else(|| Uid(self.shared.next_id()));
        let body = serde_json::to_string(&record)
            .map_err(|e| Problem::new(Code::InvalidField, format!("{}: {e}", applied.place)))?;
        record.metadata.uid = Some(uid);
        let expect = found.map_or(Expect::Absent, Expect::Revision);
        Ok((
            applied,
            Some(Change {
                record,
                spec,
                body,
                uid,
                expect,
                act,
            }),
        ))
    }

    /// Seals the values; one that is the same as before keeps its sealed form.
    fn sealed_spec(
        &self,
        name: &str,
        secret: &sengu_model::kinds::SecretSpec,
        known: Option<&Record>,
    ) -> Result<Value, Problem> {
        let mut data = serde_json::Map::new();
        for (key, value) in &secret.data {
            let place = format!("{name}/{key}");
            let old = known.and_then(|k| k.spec.get("data")?.get(key)?.as_str());
            let same = old.filter(|old| {
                value == HIDDEN // what was shown comes back from an editor: keep it
                    || seal::open(&self.shared.config.seal_key, &place, old).as_deref() == Ok(value)
            });
            let sealed = match same {
                Some(old) => old.to_owned(),
                None if value == HIDDEN => {
                    let what = format!("Secret/{name}: {key} is {HIDDEN} and was not set before");
                    return Err(Problem::new(Code::InvalidField, what).hint("write the value"));
                }
                None => {
                    let mut nonce = [0; seal::NONCE_BYTES];
                    getrandom::fill(&mut nonce).map_err(|e| {
                        tracing::error!(error = %e, "no randomness from the system");
                        Problem::new(Code::Internal, "the system gives no randomness")
                    })?;
                    seal::seal(&self.shared.config.seal_key, nonce, &place, value)
                }
            };
            data.insert(key.clone(), Value::String(sealed));
        }
        Ok(serde_json::json!({ "data": data }))
    }

    /// Any record, as stored (secrets sealed), with status.
    pub fn record(&self, kind: &str, name: &str) -> Option<Record> {
        self.shared.record(kind, name)
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// `not_found`, `in_use`, `conflict`, or the store's.
    pub async fn delete(
        &self,
        kind: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<(), Problem> {
        let _one_writer = self.shared.writes.lock().await;
        let known = self
            .record(kind, name)
            .ok_or_else(|| not_found(kind, name))?;
        if kind == "Wee" && self.shared.wees.read().contains_key(name) {
            return Err(
                Problem::new(Code::InUse, format!("wee/{name} is there")).hint("end it first")
            );
        }
        if !WRITABLE_KINDS.contains(&kind) && !matches!(kind, "Run" | "Worker" | "Wee") {
            return Err(Problem::new(
                Code::WrongState,
                format!("{kind} records are kept by sengu"),
            ));
        }
        if kind == "Worker" {
            return self.delete_version(name).await;
        }
        if kind == releases::KIND {
            let what = format!("Release/{name} lives as long as its worker kind");
            return Err(Problem::new(Code::WrongState, what).hint(format!(
                "sengu rollback {name}, or sengu delete worker/{name}@<version>"
            )));
        }
        if kind == "Run" && !run_over(&known) {
            return Err(Problem::new(Code::InUse, format!("run {name} is not over"))
                .hint(format!("sengu cancel run/{name}")));
        }
        if kind == "Secret" {
            let inventory = self.shared.inventory.read();
            let users = inventory
                .targets
                .values()
                .filter(|t| t.secret.as_deref() == Some(name));
            let first: Vec<&str> = users.take(3).map(|t| &*t.name).collect();
            if !first.is_empty() {
                let what = format!("Secret/{name} is used by Target {}", first.join(", "));
                return Err(Problem::new(Code::InUse, what).hint("delete or change those first"));
            }
        }
        let expect = revision.map_or(Expect::Anything, Expect::Revision);
        let delete = |kind: &str, expect| Op::DeleteRecord {
            kind: kind.to_owned(),
            name: name.to_owned(),
            expect,
        };
        let act = Act::new("deleted", kind, name).fields(Some(&known), None);
        let mut ops = vec![delete(kind, expect), act.op()];
        let uid = known.metadata.uid.unwrap_or_default();
        if kind == "Target"
            && self
                .shared
                .store
                .record("TargetStatus", name)
                .await
                .map_err(store_problem)?
                .is_some()
        {
            ops.push(delete("TargetStatus", Expect::Anything));
        }
        let committed = self
            .shared
            .store
            .commit(ops.into())
            .await
            .map_err(store_problem)?;
        {
            let mut inventory = self.shared.inventory.write();
            if kind == "Target" {
                inventory.remove_target(name);
            } else {
                inventory.others.remove(&(kind.into(), name.into()));
            }
        }
        self.shared.declared();
        self.shared.wrote(&committed.revisions);
        if kind == "Target" {
            self.end_tasks_of(uid).await;
            // What is in no store: the observation that waits for its turn.
            self.dispatch.send(Input::Altered(vec![uid])).await;
        }
        Ok(())
    }

    /// Ends what waits for a target that was deleted. What is missed here ends when its turn comes.
    async fn end_tasks_of(&self, target: Uid) {
        let mut after = sengu_model::TaskId(0);
        loop {
            let page = self.shared.store.lane_tasks(target, after, 1_000).await;
            let open = page.unwrap_or_default();
            let Some(last) = open.last() else { break };
            after = last.id;
            let tasks = open.iter().map(|t| t.id).collect();
            if let Err(problem) = self.cancel_open(tasks, "the target was deleted").await {
                tracing::warn!(code = ?problem.code, "tasks of a deleted target end later");
                break;
            }
        }
    }

    /// Ends the quarantine of a target.
    ///
    /// # Errors
    /// `not_found`, or the store's.
    pub async fn uncordon(&self, name: &str) -> Result<Record, Problem> {
        let target = self.shared.inventory.read().target(name).cloned();
        let target = target.ok_or_else(|| not_found("Target", name))?;
        {
            let inventory = self.shared.inventory.read();
            let mut live = target.live.lock();
            live.quarantine = None;
            live.failures = 0;
            live.next_observe = Time(0);
            inventory.changed(&target, &mut live);
        }
        let op = Op::PutRecord {
            kind: "TargetStatus".to_owned(),
            name: name.to_owned(),
            uid: target.uid,
            expect: Expect::Anything,
            body: serde_json::to_vec(&target.kept())
                .unwrap_or_default()
                .into(),
        };
        let committed = self
            .shared
            .store
            .commit(vec![op, Act::new("uncordoned", "Target", name).op()].into())
            .await
            .map_err(store_problem)?;
        self.shared.wrote(&committed.revisions);
        let uncordoned = Input::Uncordoned(vec![target.uid]);
        self.dispatch.send(uncordoned).await;
        Ok(target.record())
    }
}

/// The forms that a selector knows, for who wrote one that is none.
pub const SELECTOR_HINT: &str =
    "terms are joined by commas: site=tyo1, rack in (r1,r2), firmware<2.0, !retired, name~bmc-*";

/// A selector as somebody wrote it; empty = all.
///
/// # Errors
/// `invalid_selector`.
pub fn selector(text: &str) -> Result<sengu_model::Selector, Problem> {
    text.parse()
        .map_err(|e| Problem::new(Code::InvalidSelector, format!("{e}")).hint(SELECTOR_HINT))
}

/// What stands for a secret value wherever it would be shown.
pub const HIDDEN: &str = "***";

/// A record as it may be shown: without secret values.
pub fn hide(mut record: Record) -> Record {
    if record.kind == "Secret"
        && let Some(Value::Object(data)) = record.spec.get_mut("data")
    {
        for value in data.values_mut() {
            *value = Value::String(HIDDEN.to_owned());
        }
    }
    record
}

pub fn not_found(kind: &str, name: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no {kind} {:?}", clip(name)),
    )
}

fn run_over(record: &Record) -> bool {
    let status = serde_json::from_value::<sengu_model::kinds::RunStatus>(record.status.clone());
    status.is_ok_and(|s| s.phase.over())
}

/// Those whose quarantine it ends are added to `uncordoned`.
fn take(inventory: &mut Inventory, change: Change, revision: u64, uncordoned: &mut Vec<Uid>) {
    let Change {
        mut record,
        spec,
        uid,
        ..
    } = change;
    record.metadata.revision = Some(revision);
    match spec {
        Spec::Target(spec) => {
            let texts = inventory.texts.clone();
            let quarantined = |t: &Arc<Target>| t.uid == uid && t.live.lock().quarantine.is_some();
            if inventory.by_uid.get(&uid).is_some_and(quarantined) {
                uncordoned.push(uid);
            }
            inventory.put_target(Target::new(&record, &spec, &texts));
        }
        Spec::Secret(_) => {
            let name = record.metadata.name.clone();
            put_other(inventory, record, uid, revision);
            // New credentials are a new chance for those who were refused.
            for target in inventory.targets.values() {
                if target.secret.as_deref() == Some(name.as_str()) {
                    let mut live = target.live.lock();
                    if live.quarantine.take().is_some() {
                        uncordoned.push(target.uid);
                    }
                    live.next_observe = Time(0);
                    inventory.changed(target, &mut live);
                }
            }
        }
        Spec::Schedule(_) | Spec::Release(_) => put_other(inventory, record, uid, revision),
    }
}

fn put_other(inventory: &mut Inventory, record: Record, uid: Uid, revision: u64) {
    let key = (
        record.kind.as_str().into(),
        record.metadata.name.as_str().into(),
    );
    inventory.others.insert(
        key,
        Arc::new(Other {
            uid,
            revision,
            record,
        }),
    );
}
