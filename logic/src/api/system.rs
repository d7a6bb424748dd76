//! The system itself: version, health, metrics, what is going on, and what can be explained.

use super::Answer;
use crate::clock;
use crate::core::Logic;
use crate::dispatch::{Input, QueueStanding};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sengu_interconnect::contact::Contact;
use sengu_model::kinds::RunStatus;
use sengu_model::limits::{self, Limit};
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Class, Record, Time};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub version: String,
    /// Number of this life of the logic role.
    pub epoch: u64,
    pub roles: Vec<String>,
    pub started_at: String,
    pub store: StoreInfo,
    pub interconnect: InterconnectInfo,
    /// Those who are told what happens, by name.
    pub events_to: Vec<String>,
    /// What the engines in use cannot do.
    pub lacks: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreInfo {
    pub engine: String,
    pub revision: u64,
    pub records: u64,
    pub tasks_open: u64,
    pub tasks_ended: u64,
    pub bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterconnectInfo {
    /// `embedded`, or the kinds of the brokers.
    pub engine: String,
    /// Reached, and it takes messages.
    pub connected: bool,
    /// Not connected since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl InterconnectInfo {
    pub fn of(logic: &Logic) -> InterconnectInfo {
        let shared = &logic.shared;
        let (since, message) = match &*shared.broker.contact().borrow() {
            Contact::There => (None, None),
            Contact::Away { since, why } | Contact::Blocked { since, why } => {
                let passed = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
                (Some(Time(clock::now().0 - passed)), Some(why.clone()))
            }
        };
        InterconnectInfo {
            engine: shared.config.interconnect.clone(),
            connected: message.is_none(),
            since,
            message,
        }
    }
}

/// Version, roles and engines.
#[utoipa::path(get, path = "/v1/version", tag = "system", responses((status = 200, body = Version)))]
pub(super) async fn version(State(logic): State<Arc<Logic>>) -> Answer<Json<Version>> {
    let shared = &logic.shared;
    let store = shared
        .store
        .status()
        .await
        .map_err(crate::records::store_problem)?;
    let mut lacks = store.lacks.clone();
    lacks.extend(shared.broker.lacks());
    lacks.extend(shared.events.lacks());
    Ok(Json(Version {
        version: shared.config.sengu_version.clone(),
        epoch: shared.epoch,
        roles: shared.config.roles.clone(),
        started_at: shared.started_at.to_string(),
        store: StoreInfo {
            engine: store.engine,
            revision: store.revision,
            records: store.records,
            tasks_open: store.tasks_open,
            tasks_ended: store.tasks_ended,
            bytes: store.bytes,
        },
        interconnect: InterconnectInfo::of(&logic),
        events_to: shared.events.names(),
        lacks,
    }))
}

/// One limit of this version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LimitInfo {
    pub name: String,
    pub value: u64,
    /// `ms`, `bytes` or `count`.
    pub unit: String,
    pub why: String,
}

/// Every limit. They are not settings.
#[utoipa::path(get, path = "/v1/limits", tag = "system", responses((status = 200, body = Vec<LimitInfo>)))]
pub(super) async fn limits() -> Json<Vec<LimitInfo>> {
    let info = |limit: &Limit| LimitInfo {
        name: limit.name.to_lowercase(),
        value: limit.value,
        unit: limit.unit().to_owned(),
        why: limit.why.trim().to_owned(),
    };
    Json(limits::ALL.iter().map(info).collect())
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready when it is the active one and the store answers. One that has an execution environment in its own process waits
/// for it too; logic alone does not: whoever finds none in touch has to be able to ask why.
pub(super) async fn readyz(State(logic): State<Arc<Logic>>) -> Response {
    let store = logic.shared.store.meta("epoch").await.is_ok();
    let both = logic
        .shared
        .config
        .roles
        .iter()
        .any(|role| role == "execution");
    let wait_for = if !store {
        "the store does not answer\n"
    } else if !logic.shared.seat.holds() {
        "cannot be sure to be the active one\n"
    } else if both && logic.shared.wees.read().is_empty() {
        "no execution environment yet\n"
    } else {
        return "ok\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, wait_for).into_response()
}

pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, super::document()).into_response()
}

/// Metrics in Prometheus' text form.
pub(super) async fn metrics(State(logic): State<Arc<Logic>>) -> Response {
    let mut out = String::new();
    logic.shared.metrics.render(&mut out);
    logic.shared.events.render(&logic.shared, &mut out);
    let (up, down, quarantined, total) = reach(&logic);
    let gauges = [
        ("sengu_targets", "Targets.", total),
        ("sengu_targets_reachable", "Targets that answered last.", up),
        (
            "sengu_targets_unreachable",
            "Targets that did not answer last.",
            down,
        ),
        (
            "sengu_targets_quarantined",
            "Targets that are left alone.",
            quarantined,
        ),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    }
    if let Some(overview) = logic.dispatch.ask(Input::Overview).await {
        let name = "sengu_queue_in_flight";
        let _ = writeln!(
            out,
            "# HELP {name} Tasks sent and not ended.\n# TYPE {name} gauge"
        );
        for q in overview.queues {
            let (zone, kind, version, class) = (q.zone, q.kind, q.version, q.class);
            let _ = writeln!(
                out,
                "{name}{{zone=\"{zone}\",kind=\"{kind}\",version=\"{version}\",class=\"{class}\"}} {}",
                q.in_flight
            );
        }
    }
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, out).into_response()
}

/// Reachable, unreachable, quarantined, all.
fn reach(logic: &Logic) -> (usize, usize, usize, usize) {
    let seen = logic.shared.inventory.read().counts.seen().all;
    let counts = [
        seen.reachable,
        seen.unreachable,
        seen.quarantined,
        seen.total,
    ];
    let [up, down, quarantined, total] = counts.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    (up, down, quarantined, total)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Top {
    pub tasks: TopTasks,
    pub queues: Vec<TopQueue>,
    pub wees: Vec<WeeAnnouncement>,
    pub targets: TopTargets,
    /// Runs in progress.
    pub runs: Vec<Record>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopTasks {
    /// Not ended and not out, the backlog in the store included.
    pub waiting: u64,
    pub sent: u64,
    pub started: u64,
    /// Since start.
    pub ended: u64,
    /// Since start, of those ended: not done.
    pub not_done: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopQueue {
    #[serde(flatten)]
    pub standing: QueueStanding,
    /// In the broker and not yet with an execution environment.
    pub depth: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopTargets {
    pub total: usize,
    pub reachable: usize,
    pub unreachable: usize,
    pub quarantined: usize,
}

/// What is going on right now.
#[utoipa::path(get, path = "/v1/top", tag = "system", responses((status = 200, body = Top)))]
pub(super) async fn top(State(logic): State<Arc<Logic>>) -> Answer<Json<Top>> {
    let overview = logic
        .dispatch
        .ask(Input::Overview)
        .await
        .unwrap_or_default();
    let open = logic
        .shared
        .store
        .status()
        .await
        .map_err(crate::records::store_problem)?
        .tasks_open;
    let (ended, not_done, _) = logic.shared.metrics.totals();
    let (sent, started) = (overview.sent as u64, overview.started as u64);
    let (reachable, unreachable, quarantined, total) = reach(&logic);
    let names: Vec<String> = {
        let inventory = logic.shared.inventory.read();
        let running = inventory.others_of("Run").filter(|(_, o)| {
            let status = serde_json::from_value::<RunStatus>(o.record.status.clone());
            status.is_ok_and(|s| !s.phase.over())
        });
        running.take(100).map(|(name, _)| name.to_owned()).collect()
    };
    let mut runs = Vec::new();
    for name in names {
        runs.extend(logic.run(&name).await.ok());
    }
    let mut queues = Vec::new();
    for standing in overview.queues {
        let class = if standing.class == Class::Control.as_str() {
            Class::Control
        } else {
            Class::Observe
        };
        let queue = sengu_interconnect::Queue::tasks(
            &standing.zone,
            &standing.kind,
            &standing.version,
            class,
        );
        let depth = logic.shared.broker.depth(queue).await.unwrap_or(0);
        queues.push(TopQueue { standing, depth });
    }
    Ok(Json(Top {
        tasks: TopTasks {
            waiting: open.saturating_sub(sent + started),
            sent,
            started,
            ended,
            not_done,
        },
        queues,
        wees: logic.shared.wees.read().values().cloned().collect(),
        targets: TopTargets {
            total,
            reachable,
            unreachable,
            quarantined,
        },
        runs,
    }))
}
