//! What readings were, kept in memory within one budget for the whole fleet.

use sengu_model::Time;
use serde::Serialize;

/// Earlier values of a target's readings. Nothing of it outlives this life of sengu.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadingHistory {
    /// Values kept of each reading, at most: fewer, the larger the fleet is.
    pub points_max: u32,
    pub readings: Vec<ReadingSeries>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadingSeries {
    /// With its labels, such as `temperature_celsius{sensor="CPU1"}`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Oldest first.
    pub at: Vec<Time>,
    /// Null where that observation had no such reading.
    pub value: Vec<Option<f64>>,
}
