//! Versions of workers, Releases and execution environments over HTTP.

use super::{Answer, Body, Params, Refusal, json};
use crate::core::Logic;
use crate::dispatch::Input;
use crate::releases::{self, Promote, Rollback};
use crate::workers::{Origin, Pushed, WorkerStatus};
use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::StreamExt as _;
use sengu_model::problem::{Code, Problem};
use sengu_model::release::RulePhase;
use sengu_model::wire::envelope::{WeeAnnouncement, WeeSpec};
use sengu_model::{Record, image, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An image that arrives slower than this for one part is given up.
const PART_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PushParams {
    /// `sha256:...` of the body.
    digest: String,
}

/// Pushes a version of a worker: the image as a tar in the canonical form, with worker.toml at its top.
///
/// Nothing is moved to it: see promote. The first version of a new kind is what its Release names.
#[utoipa::path(post, path = "/v1/workers", tag = "workers", params(PushParams),
    request_body(content = String, content_type = "application/x-tar"),
    responses((status = 201, body = Pushed), (status = 200, body = Pushed, description = "it was there already")))]
pub(super) async fn push(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<PushParams>,
    body: RawBody,
) -> Answer<Response> {
    if !image::valid_digest(&params.digest) {
        let what = "digest: sha256: and 64 hex digits of the body";
        return Err(Refusal(Problem::new(Code::InvalidField, what)));
    }
    // What goes wrong is told when all has arrived: one who still sends hears nothing.
    let mut writer = logic.begin_push().await.map_err(Refusal);
    let mut parts = body.into_data_stream();
    let mut bytes = 0_u64;
    loop {
        let part = tokio::time::timeout(PART_WAIT_MAX, parts.next()).await;
        let part = match part {
            Ok(Some(Ok(part))) => part,
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                let what = format!("the body broke off after {bytes} bytes; nothing was kept");
                return Err(Refusal(
                    Problem::new(Code::Syntax, what).hint("push it again"),
                ));
            }
        };
        bytes += part.len() as u64;
        if bytes > limits::IMAGE_BYTES_MAX {
            let what = format!("an image of more than {} bytes", limits::IMAGE_BYTES_MAX);
            return Err(Refusal(Problem::new(Code::BodyTooLarge, what)));
        }
        if let Ok(open) = &mut writer
            && let Err(error) = open.write(part).await
        {
            writer = Err(Refusal(crate::workers::blob_problem(error)));
        }
    }
    let pushed = logic.end_push(writer?, params.digest).await?;
    let status = if pushed.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(json(status, pushed))
}

/// One version of a worker kind and how it does.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// `kind@version`.
    pub name: String,
    pub kind: String,
    pub version: String,
    pub digest: String,
    pub bytes: u64,
    pub origin: Origin,
    pub description: String,
    pub runtimes: Vec<String>,
    pub actions: Vec<String>,
    /// What the Release sends to it, in words: `all`, `10% of vendor=Contoso`, `shadow`, or nothing.
    pub gets: Vec<String>,
    pub targets: u64,
    /// Over all execution environments.
    pub instances: u32,
    pub slots: u32,
    pub slots_busy: u32,
    /// Sent and not ended.
    pub in_flight: u32,
    /// Attempts that ended since the start of logic, and those that failed.
    pub ended: u64,
    pub failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ms: Option<u64>,
    /// By execution environment: why it cannot run it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub complaints: BTreeMap<String, Vec<String>>,
}

/// All versions of all workers.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", responses((status = 200, body = Vec<WorkerView>)))]
pub(super) async fn list(State(logic): State<Arc<Logic>>) -> Json<Vec<WorkerView>> {
    let overview = logic
        .dispatch
        .ask(Input::Overview)
        .await
        .unwrap_or_default();
    let shared = &logic.shared;
    let catalog = shared.catalog.read().clone();
    let mut views = Vec::new();
    let targets = {
        let inventory = shared.inventory.read();
        let mut targets: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for target in inventory.targets.values() {
            *targets.entry(target.kind.clone()).or_default() += 1;
        }
        targets
    };
    for (name, routes) in &catalog.routes {
        let release = releases::of(shared, name);
        for (version, kind) in &routes.versions {
            let manifest = &kind.offer.manifest;
            let status = {
                let inventory = shared.inventory.read();
                let record = inventory.other("Worker", &kind.full_name);
                record.and_then(|r| {
                    serde_json::from_value::<WorkerStatus>(r.record.status.clone()).ok()
                })
            };
            let mut view = WorkerView {
                name: kind.full_name.to_string(),
                kind: name.clone(),
                version: version.clone(),
                digest: kind.offer.digest.clone(),
                bytes: kind.offer.bytes,
                origin: status.map_or(Origin::Bundled, |s| s.origin),
                description: manifest.description.clone(),
                runtimes: manifest.runtimes().into_iter().map(|r| r.name).collect(),
                actions: kind
                    .actions
                    .values()
                    .filter(|a| !a.decl.internal)
                    .map(|a| a.decl.name.clone())
                    .collect(),
                gets: Vec::new(),
                targets: targets.get(name.as_str()).copied().unwrap_or(0),
                instances: 0,
                slots: 0,
                slots_busy: 0,
                in_flight: 0,
                ended: 0,
                failed: 0,
                p50_ms: None,
                p90_ms: None,
                broken: BTreeMap::new(),
                complaints: BTreeMap::new(),
            };
            if let Some((spec, status)) = &release {
                for rule in spec.rules.iter().filter(|r| r.version == *version) {
                    let whom = if rule.selector.is_empty() {
                        "all"
                    } else {
                        &rule.selector
                    };
                    let phase = status.rules.iter().find(|s| s.name == rule.name);
                    view.gets.push(match phase.map(|s| s.phase) {
                        _ if rule.shadow => format!("shadows {} of {whom}", rule.share),
                        Some(RulePhase::Rolling) => format!("{} of {whom}, watched", rule.share),
                        _ => format!("{} of {whom}", rule.share),
                    });
                }
                if spec.version == *version {
                    view.gets.push(
                        if spec.rules.is_empty() {
                            "all"
                        } else {
                            "the rest"
                        }
                        .to_owned(),
                    );
                }
            }
            for queue in overview
                .queues
                .iter()
                .filter(|q| q.kind == *name && q.version == *version)
            {
                view.in_flight += queue.in_flight;
                view.ended += queue.ended.tasks;
                view.failed += queue.ended.failed;
                view.p50_ms = view.p50_ms.max(queue.ended.p50_ms);
                view.p90_ms = view.p90_ms.max(queue.ended.p90_ms);
            }
            for wee in shared.wees.read().values() {
                for pool in wee
                    .pools
                    .iter()
                    .filter(|p| p.kind == *name && p.version == *version)
                {
                    view.instances += pool.instances;
                    view.slots = view.slots.saturating_add(pool.slots_max);
                    view.slots_busy += pool.slots_busy;
                    if let Some(why) = &pool.broken {
                        view.broken.insert(wee.name.clone(), why.clone());
                    }
                    if !pool.complaints.is_empty() {
                        view.complaints
                            .insert(wee.name.clone(), pool.complaints.clone());
                    }
                }
            }
            views.push(view);
        }
    }
    Json(views)
}

/// Moves a version of a worker to a part of the targets.
///
/// The answer is the Release. Follow it with GET /v1/watch on kind Release.
#[utoipa::path(post, path = "/v1/releases/{kind}/promote", tag = "workers", params(("kind" = String, Path)),
    request_body = Promote, responses((status = 200, body = Record)))]
pub(super) async fn promote(
    State(logic): State<Arc<Logic>>,
    Path(kind): Path<String>,
    Body(wanted): Body<Promote>,
) -> Answer<Json<Record>> {
    Ok(Json(logic.promote(&kind, wanted).await?))
}

/// Ends the rollout that is on its way, or goes back to what was before the last move.
#[utoipa::path(post, path = "/v1/releases/{kind}/rollback", tag = "workers", params(("kind" = String, Path)),
    request_body = Rollback, responses((status = 200, body = Record)))]
pub(super) async fn rollback(
    State(logic): State<Arc<Logic>>,
    Path(kind): Path<String>,
    Body(wanted): Body<Rollback>,
) -> Answer<Json<Record>> {
    Ok(Json(logic.rollback(&kind, wanted).await?))
}

/// Has an execution environment take no new tasks.
#[utoipa::path(post, path = "/v1/wees/{name}/cordon", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, body = Record)))]
pub(super) async fn cordon(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<Record>> {
    let spec = WeeSpec {
        cordoned: true,
        drained: false,
    };
    Ok(Json(logic.set_wee(&name, spec).await?))
}

/// Has an execution environment take no new tasks, and lets its instances go.
#[utoipa::path(post, path = "/v1/wees/{name}/drain", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, body = Record)))]
pub(super) async fn drain(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<Record>> {
    let spec = WeeSpec {
        cordoned: true,
        drained: true,
    };
    Ok(Json(logic.set_wee(&name, spec).await?))
}

/// Has an execution environment take tasks again.
#[utoipa::path(post, path = "/v1/wees/{name}/uncordon", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, body = Record)))]
pub(super) async fn uncordon(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<Record>> {
    Ok(Json(logic.set_wee(&name, WeeSpec::default()).await?))
}

/// Has an execution environment drain and start again as the program that is installed now.
#[utoipa::path(post, path = "/v1/wees/{name}/upgrade", tag = "workers", params(("name" = String, Path)),
    responses((status = 202, body = WeeAnnouncement)))]
pub(super) async fn upgrade(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    Ok(json(StatusCode::ACCEPTED, logic.upgrade_wee(&name).await?))
}

/// Why which worker does a task, or none does.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    pub task: String,
    pub target: String,
    pub kind: String,
    pub action: String,
    /// Of the worker that did it, or would do it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// `kind@version/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wee: Option<String>,
    pub ended: bool,
    /// The rule, the pin, or why there is none.
    pub why: String,
    /// Facts and labels by which it was looked for, as they are now.
    pub facts: BTreeMap<String, String>,
    /// Execution environments of the target's zone, with what keeps each from running it.
    pub wees: BTreeMap<String, String>,
}

/// Which worker does a task, and why that one.
#[utoipa::path(get, path = "/v1/tasks/{id}/explain", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = Chosen)))]
pub(super) async fn explain(
    State(logic): State<Arc<Logic>>,
    Path(id): Path<String>,
) -> Answer<Json<Chosen>> {
    Ok(Json(logic.explain_task(super::tasks::task_id(&id)?).await?))
}
