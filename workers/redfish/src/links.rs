//! Where things are on a BMC: found by following links from the service root, and remembered.
//!
//! No path but the service root's is ever guessed. What was found is forgotten when it leads nowhere any more.

use crate::bmc::{Lease, basic};
use crate::client::{Client, Redirects, Resource};
use crate::config::Credentials;
use crate::http::{Call, Trouble};
use crate::limits;
use crate::reply::{Reply, path_of};
use crate::sensors::Source;
use hyper::Method;
use sengu_sdk::{Failure, FailureCode};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

/// The only path that the standard fixes.
const ROOT: &str = "/redfish/v1/";

/// Links found so far on one BMC.
#[derive(Default)]
pub struct Known {
    root: Option<Arc<Root>>,
    sessions: Option<String>,
    systems: Option<Arc<[String]>>,
    system: HashMap<Option<String>, String>,
    pub sources: HashMap<String, Arc<[Source]>>,
    pub inventory: Option<(Instant, Arc<BTreeMap<String, Value>>)>,
}

pub struct Root {
    pub vendor: Option<String>,
    pub redfish_version: Option<String>,
    systems: Option<String>,
    sessions: Option<String>,
    session_service: Option<String>,
    pub update_service: Option<String>,
    /// `$expand` of a collection's members is understood.
    pub expand: bool,
}

impl Known {
    fn forget(&mut self) {
        *self = Known::default();
    }
}

/// The path that a property links to: `{"@odata.id": path}`.
pub fn link(body: &Value, property: &str) -> Option<String> {
    path_of(body.get(property)?.get("@odata.id")?.as_str()?)
}

/// The paths of an array of links.
pub fn links(body: &Value, pointer: &str) -> Vec<String> {
    let Some(Value::Array(items)) = body.pointer(pointer) else {
        return Vec::new();
    };
    let path = |item: &Value| path_of(item.get("@odata.id")?.as_str()?);
    items.iter().filter_map(path).collect()
}

async fn root(
    bmc: &Lease,
    credentials: Option<&Credentials>,
    deadline: Instant,
) -> Result<Arc<Root>, Trouble> {
    let at_hand = || bmc.known.lock().root.clone();
    if let Some(root) = at_hand() {
        return Ok(root);
    }
    let _seeking = wait_for(&bmc.seeking.root, deadline).await?;
    if let Some(root) = at_hand() {
        return Ok(root);
    }
    let mut reply = get_root(bmc, None, deadline).await?;
    // The standard wants the root readable by all; some BMCs think otherwise.
    if let (401, Some(credentials)) = (reply.status, credentials) {
        reply = get_root(bmc, Some(credentials), deadline).await?;
        if reply.status == 401 {
            let failure = reply.failure("GET /redfish/v1/");
            bmc.shut_out(&failure);
            return Err(failure.into());
        }
    }
    if !reply.ok() {
        return Err(reply.failure("GET /redfish/v1/").into());
    }
    let body = reply.object(ROOT)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let expand = body.pointer("/ProtocolFeaturesSupported/ExpandQuery");
    let expands = |name: &str| {
        let flag = expand.and_then(|e| e.get(name)).and_then(Value::as_bool);
        flag == Some(true)
    };
    let root = Arc::new(Root {
        vendor: text("Vendor"),
        redfish_version: text("RedfishVersion"),
        systems: link(&body, "Systems"),
        sessions: body.get("Links").and_then(|links| link(links, "Sessions")),
        session_service: link(&body, "SessionService"),
        update_service: link(&body, "UpdateService"),
        expand: expands("NoLinks"),
    });
    bmc.known.lock().root = Some(root.clone());
    Ok(root)
}

async fn get_root(
    bmc: &Lease,
    credentials: Option<&Credentials>,
    deadline: Instant,
) -> Result<Reply, Trouble> {
    let mut call = Call::new(Method::GET, ROOT);
    call.headers.extend(credentials.map(basic));
    let mut redirects = Redirects::new();
    loop {
        let reply = bmc.wire.send(&call, deadline).await?;
        if let Some(reply) = redirects.follow(&mut call, bmc.wire.authority(), reply)? {
            return Ok(reply);
        }
    }
}

async fn wait_for(seeking: &Mutex<()>, deadline: Instant) -> Result<MutexGuard<'_, ()>, Failure> {
    timeout_at(deadline, seeking.lock()).await.map_err(|_| {
        let message = "another task's look for the way did not end in time";
        Failure::new(FailureCode::Timeout, message)
    })
}

/// Where sessions are opened; none when the BMC has no such thing.
pub async fn sessions(
    bmc: &Lease,
    credentials: &Credentials,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    if let Some(path) = &bmc.known.lock().sessions {
        return Ok(Some(path.clone()));
    }
    let root = root(bmc, Some(credentials), deadline).await?;
    let path = match (&root.sessions, &root.session_service) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(service)) => {
            let mut call = Call::new(Method::GET, service);
            call.headers.push(basic(credentials));
            let reply = bmc.wire.send(&call, deadline).await?;
            match reply.status {
                404 | 405 | 501 => None,
                _ if reply.ok() => link(&reply.json(), "Sessions"),
                _ => return Err(reply.failure("GET SessionService").into()),
            }
        }
        (None, None) => None,
    };
    bmc.known.lock().sessions.clone_from(&path);
    Ok(path)
}

/// What a system is asked for: reads may take the first of several, changes may not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Read,
    Change,
}

impl Client {
    pub async fn root(&self) -> Result<Arc<Root>, Trouble> {
        root(&self.bmc, self.credentials.as_ref(), self.deadline).await
    }

    /// The ComputerSystem of this target. Links that lead nowhere any more are looked up anew, once.
    pub async fn system(&self, purpose: Purpose) -> Result<Resource, Trouble> {
        let known = self.bmc.known.lock().system.get(&self.system).cloned();
        let several = {
            let known = self.bmc.known.lock();
            self.system.is_none() && known.systems.as_ref().is_some_and(|s| s.len() > 1)
        };
        if let Some(path) = known.filter(|_| !several || purpose == Purpose::Read) {
            match self.get(&path).await {
                Err(Trouble::Failed(failure)) if http_status(&failure) == Some(404) => {
                    self.bmc.known.lock().forget();
                }
                other => return other,
            }
        }
        let path = self.find_system(purpose).await?;
        let resource = self.get(&path).await?;
        let mut known = self.bmc.known.lock();
        known.system.insert(self.system.clone(), path);
        Ok(resource)
    }

    async fn find_system(&self, purpose: Purpose) -> Result<String, Trouble> {
        if let Some(path) = self.system.as_deref().filter(|s| s.starts_with('/')) {
            return Ok(path.to_owned());
        }
        let systems = self.systems().await?;
        choose_system(&systems, self.system.as_deref(), purpose).map_err(Trouble::Failed)
    }

    async fn systems(&self) -> Result<Arc<[String]>, Trouble> {
        let at_hand = || self.bmc.known.lock().systems.clone();
        if let Some(systems) = at_hand() {
            return Ok(systems);
        }
        let _seeking = wait_for(&self.bmc.seeking.systems, self.deadline).await?;
        if let Some(systems) = at_hand() {
            return Ok(systems);
        }
        let root = self.root().await?;
        let Some(path) = &root.systems else {
            let message = "the service root has no link to Systems";
            return Err(Trouble::failed(FailureCode::BadReply, message));
        };
        let systems: Arc<[String]> = self.members(path).await?.into();
        self.bmc.known.lock().systems = Some(systems.clone());
        Ok(systems)
    }

    /// The paths of a collection's members, all pages.
    pub async fn members(&self, collection: &str) -> Result<Vec<String>, Trouble> {
        let mut members = Vec::new();
        let mut page = Some(collection.to_owned());
        for _ in 0..limits::PAGES_MAX {
            let Some(path) = page.take() else { break };
            let body = self.get(&path).await?.body;
            members.extend(links(&body, "/Members"));
            page = next_page(&body);
        }
        Ok(members)
    }

    /// The members themselves, in one request where the BMC expands, else one by one to a limit.
    pub async fn expanded(&self, collection: &str) -> Result<Vec<Value>, Trouble> {
        if self.root().await?.expand {
            let path = format!("{collection}?$expand=.($levels=1)");
            if let Ok(resource) = self.get(&path).await
                && let Some(Value::Array(members)) = resource.body.get("Members")
                && members.iter().all(|m| m.get("Id").is_some())
            {
                return Ok(members.clone());
            }
        }
        let mut members = Vec::new();
        for path in self
            .members(collection)
            .await?
            .iter()
            .take(limits::MEMBERS_MAX)
        {
            members.push(self.get(path).await?.body);
        }
        Ok(members)
    }
}

pub fn next_page(body: &Value) -> Option<String> {
    let next = body
        .get("Members@odata.nextLink")
        .or_else(|| body.get("@odata.nextLink"))?;
    let text = next
        .as_str()
        .or_else(|| next.get("@odata.id").and_then(Value::as_str));
    path_of(text?)
}

pub fn http_status(failure: &Failure) -> Option<u64> {
    failure.detail.as_ref()?.get("httpStatus")?.as_u64()
}

fn choose_system(
    systems: &[String],
    wanted: Option<&str>,
    purpose: Purpose,
) -> Result<String, Failure> {
    let id = |path: &String| {
        let last = path.trim_end_matches('/').rsplit('/').next();
        last.unwrap_or_default().to_owned()
    };
    let refused = |message: String| Failure::new(FailureCode::Refused, message);
    let ids = || {
        systems
            .iter()
            .take(10)
            .map(id)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (wanted, systems) {
        (_, []) => Err(Failure::busy("the BMC lists no system (yet)", 10_000)),
        (None, [only]) => Ok(only.clone()),
        (None, [first, ..]) if purpose == Purpose::Read => Ok(first.clone()),
        (None, _) => Err(refused(format!(
            "the BMC has {} systems: set config.system to one of {}",
            systems.len(),
            ids()
        ))),
        (Some(wanted), _) => {
            let found = systems.iter().find(|path| id(path) == wanted);
            found.cloned().ok_or_else(|| {
                refused(format!(
                    "the BMC has no system {wanted:?}; it has {}",
                    ids()
                ))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_system_is_chosen_by_id_and_a_change_never_takes_the_first_of_several() {
        use Purpose::{Change, Read};
        let one = vec!["/redfish/v1/Systems/1".to_owned()];
        let two = vec!["/redfish/v1/Systems/a/".to_owned(), "/x/b".to_owned()];
        let table = [
            (&one, None, Change, Some("/redfish/v1/Systems/1")),
            (&two, None, Read, Some("/redfish/v1/Systems/a/")),
            (&two, None, Change, None),
            (&two, Some("b"), Change, Some("/x/b")),
            (&two, Some("a"), Change, Some("/redfish/v1/Systems/a/")),
            (&two, Some("c"), Read, None),
        ];
        for (systems, wanted, purpose, want) in table {
            let got = choose_system(systems, wanted, purpose).ok();
            assert_eq!(got.as_deref(), want, "{systems:?} {wanted:?}");
        }
        let none = choose_system(&[], None, Read).unwrap_err();
        assert_eq!(none.code, FailureCode::Busy);
    }

    #[test]
    fn links_are_read_leniently() {
        let body = json!({
            "A": {"@odata.id": "/a"}, "B": "/b", "C": {"@odata.id": 3}, "D": {},
            "L": [{"@odata.id": "/1"}, {}, 7, {"@odata.id": "https://h/2"}],
            "Members@odata.nextLink": "/redfish/v1/Systems?$skip=50",
        });
        let table = [
            ("A", Some("/a")),
            ("B", None),
            ("C", None),
            ("D", None),
            ("E", None),
        ];
        for (name, want) in table {
            assert_eq!(link(&body, name).as_deref(), want, "{name}");
        }
        assert_eq!(links(&body, "/L"), ["/1", "/2"]);
        assert_eq!(links(&body, "/A"), [""; 0]);
        assert_eq!(
            next_page(&body).as_deref(),
            Some("/redfish/v1/Systems?$skip=50")
        );
    }
}
