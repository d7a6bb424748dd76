//! Where targets stand: the labels `site`, `row`, `rack` and `unit`, and how each rack is.

use super::counts::Standing;
use crate::core::Shared;
use sengu_model::{Selector, limits};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Racks {
    /// In order of site, row and rack; at most 5,000.
    pub items: Vec<Rack>,
    pub truncated: bool,
}

/// One rack. A label that is absent is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    pub site: String,
    pub row: String,
    pub rack: String,
    pub targets: u64,
    pub unreachable: u64,
    pub quarantined: u64,
    /// Their last task did not end well.
    pub failing: u64,
}

impl Shared {
    /// How the racks stand that hold targets which the selector matches.
    pub async fn racks(&self, selector: &Selector) -> Racks {
        let mut racks = BTreeMap::<[Arc<str>; 3], Rack>::new();
        let mut truncated = false;
        self.walk(selector, |target, live| {
            let place = ["site", "row", "rack"].map(|key| target.label(key));
            if racks.len() >= limits::RACKS_MAX && !racks.contains_key(&place) {
                truncated = true;
                return;
            }
            let [site, row, name] = place.clone().map(|text| text.to_string());
            let rack = racks.entry(place).or_insert_with(|| Rack {
                site,
                row,
                rack: name,
                targets: 0,
                unreachable: 0,
                quarantined: 0,
                failing: 0,
            });
            let standing = Standing::of(target, live);
            rack.targets += 1;
            rack.unreachable += u64::from(standing.is_unreachable());
            rack.quarantined += u64::from(standing.is_quarantined());
            rack.failing += u64::from(standing.is_failing());
        })
        .await;
        Racks {
            items: racks.into_values().collect(),
            truncated,
        }
    }
}
