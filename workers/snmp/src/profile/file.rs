//! A profile as it is written in its file. Only shapes: what is sound is decided by the parent module.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// For the reader of the file.
    #[serde(default, rename = "description")]
    _description: String,
    /// Profiles whose scalars, tables, facts and outlets this one has too.
    #[serde(default)]
    pub include: Vec<String>,
    /// Prefixes of sysObjectID; over all profiles the longest one wins.
    #[serde(default, rename = "match")]
    pub matches: Vec<String>,
    /// Used when no other profile matches.
    #[serde(default)]
    pub fallback: bool,
    /// Facts known without asking.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    #[serde(default, rename = "scalar")]
    pub scalars: Vec<ScalarFile>,
    #[serde(default, rename = "table")]
    pub tables: Vec<TableFile>,
    pub outlet: Option<OutletFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalarFile {
    pub oid: String,
    #[serde(flatten)]
    pub meaning: MeaningFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// For messages.
    pub name: String,
    /// The columns' common prefix (`...Entry`).
    pub entry: String,
    #[serde(default)]
    pub rows_max: Option<usize>,
    /// Rows do not come and go while the device runs (outlets): read them with GET once they are known.
    #[serde(default)]
    pub rows_stable: bool,
    /// Labels of every reading of the table; without any, `index`.
    #[serde(default)]
    pub labels: Vec<LabelFile>,
    #[serde(default, rename = "column")]
    pub columns: Vec<ColumnFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelFile {
    pub name: String,
    /// A part of the row's index, counted from 1; 0 = the whole index.
    #[serde(default)]
    pub index: Option<usize>,
    /// The value of another column of the row; the first that is there and not empty.
    #[serde(default)]
    pub columns: Vec<Reference>,
    /// Numbers to names.
    #[serde(default)]
    pub map: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnFile {
    pub column: Reference,
    #[serde(flatten)]
    pub meaning: MeaningFile,
}

/// A column number below `entry`, or the full OID of a scalar or of a column of another table with the same index.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    Column(u32),
    Oid(String),
}

/// What a value means. Not `deny_unknown_fields` itself: serde allows that only on the outer struct of a flatten.
#[derive(Debug, Clone, Deserialize)]
pub struct MeaningFile {
    #[serde(default)]
    pub reading: Option<String>,
    #[serde(default)]
    pub fact: Option<String>,
    #[serde(default)]
    pub unit: String,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub scale: Option<f64>,
    #[serde(default)]
    pub offset: f64,
    /// Device numbers to reading values; a number that is not listed gives no reading.
    #[serde(default)]
    pub values: BTreeMap<String, f64>,
    /// Device numbers to fact texts.
    #[serde(default)]
    pub map: BTreeMap<String, String>,
    /// Device numbers that mean "not there".
    #[serde(default)]
    pub missing: Vec<f64>,
    /// Powers of ten found in other objects.
    #[serde(default)]
    pub exponent: Vec<ExponentFile>,
    /// Multiplied by the numbers of other objects.
    #[serde(default)]
    pub multiply: Vec<Reference>,
    /// Only when another object has one of these numbers.
    #[serde(default)]
    pub when: Vec<WhenFile>,
    /// The reading's name and unit depend on another object.
    #[serde(default)]
    pub by: Option<ByFile>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Gauge,
    Counter,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentFile {
    pub of: Reference,
    /// Number of the object to exponent; without it the number itself.
    #[serde(default)]
    pub map: BTreeMap<String, i32>,
    /// The exponent counts down (digits after the point).
    #[serde(default)]
    pub negate: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenFile {
    pub of: Reference,
    #[serde(rename = "in")]
    pub values: Vec<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByFile {
    pub of: Reference,
    pub cases: BTreeMap<String, CaseFile>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    pub reading: String,
    #[serde(default)]
    pub unit: String,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub scale: Option<f64>,
    #[serde(default)]
    pub offset: f64,
}

/// How outlets are switched. `{outlet}` and `{unit}` stand for the parameters of the action.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutletFile {
    /// Used when the caller names no unit.
    #[serde(default)]
    pub unit_default: u32,
    pub status: StatusFile,
    pub on: CommandFile,
    pub off: CommandFile,
    pub cycle: Option<CommandFile>,
    /// An object that says that a command is still being carried out.
    pub pending: Option<PendingFile>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusFile {
    pub oid: String,
    pub on: Vec<i64>,
    pub off: Vec<i64>,
    /// On its way to on, and to off.
    #[serde(default)]
    pub pending_on: Vec<i64>,
    #[serde(default)]
    pub pending_off: Vec<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandFile {
    pub oid: String,
    pub value: i32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingFile {
    pub oid: String,
    #[serde(rename = "in")]
    pub values: Vec<i64>,
}
