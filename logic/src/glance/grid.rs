//! A run as a grid: each target of it as one letter.

use serde::Serialize;

/// All targets of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunGrid {
    /// Newest revision of the records when this was made.
    pub revision: u64,
    /// Names, in order of their tasks; at most 20,000.
    pub targets: Vec<String>,
    /// Batch of each, from 1.
    pub batch: Vec<u32>,
    /// One letter for each: h held, w waiting, a active, d done, c done and changed, f failed, u unknown,
    /// x cancelled, e expired.
    pub state: String,
    /// There are more targets than are shown.
    pub truncated: bool,
}

/// Targets of a run that no longer are as they were told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GridChanged {
    /// Which targets, by their place in the grid.
    pub i: Vec<u32>,
    /// One letter for each.
    pub state: String,
}
