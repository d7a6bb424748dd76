//! Every target as one tile: where it stands, and one thing that is known of it, as columns.

use serde::Serialize;

/// All tiles at once.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tiles {
    /// Newest revision of the records when this was made.
    pub revision: u64,
    /// Targets that the selector matches.
    pub total: u64,
    /// There are more than are shown.
    pub truncated: bool,
    /// As asked for.
    pub colour: String,
    /// Unit of the values, where they are of a reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Texts that the columns point to by index. An absent label is an empty text.
    pub sites: Vec<String>,
    pub rows: Vec<String>,
    pub racks: Vec<String>,
    pub kinds: Vec<String>,
    /// What `word` points to; it grows with `changed`.
    pub words: Vec<String>,
    pub tiles: TileColumns,
}

/// One entry per tile in each column, in order of the targets' names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TileColumns {
    pub name: Vec<String>,
    pub site: Vec<u32>,
    pub row: Vec<u32>,
    pub rack: Vec<u32>,
    pub unit: Vec<Option<String>>,
    pub kind: Vec<u32>,
    /// One letter per tile, what matters most: q quarantined, m maintenance, b busy (a change is in hand),
    /// u unreachable, f its last task failed, r reachable, ? not asked yet.
    pub state: String,
    /// Of a reading; null where a target has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Vec<Option<f64>>>,
    /// Index into `words`, of a label, field or fact; null where a target has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<Vec<Option<u32>>>,
}

/// Tiles that are no longer as they were told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TilesChanged {
    /// Which tiles, by their place in the columns.
    pub i: Vec<u32>,
    /// One letter for each.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<Vec<Option<u32>>>,
    /// Texts to be put at the end of `words` before `word` is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}
