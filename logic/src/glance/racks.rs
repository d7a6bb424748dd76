//! Where targets stand: the labels `site`, `row`, `rack` and `unit`, and how each rack is.

use serde::Serialize;

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
