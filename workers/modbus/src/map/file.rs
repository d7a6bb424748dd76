//! A register map as it is written, in a profile's TOML or in a target's `config.map`. Only shapes: what is sound is
//! decided by the parent module.

use crate::frame::Table;
use crate::value::{Order, Type};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// For the reader of the file.
    #[serde(default, rename = "description")]
    _description: String,
    /// Registers between two points that may be read along.
    pub gap: Option<u16>,
    /// Registers in one request, for devices that bear fewer than 125.
    pub registers_max: Option<u16>,
    /// Whether to ask for the device identification (function 43/14).
    pub identify: Option<bool>,
    /// Defaults of the points below.
    #[serde(default)]
    pub defaults: DefaultsFile,
    /// Facts known without asking.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What must stand where, or else this is another device than the map is for.
    #[serde(default, rename = "check", alias = "checks")]
    pub checks: Vec<CheckFile>,
    #[serde(default, rename = "point", alias = "points")]
    pub points: Vec<PointFile>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultsFile {
    pub table: Option<Table>,
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    pub order: Option<Order>,
    pub missing: Option<MissingFile>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    pub table: Option<Table>,
    pub address: u16,
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    pub length: Option<u16>,
    pub order: Option<Order>,
    #[serde(rename = "in")]
    pub values: Vec<Literal>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointFile {
    /// What `point.read` and `point.set` call it.
    pub name: String,
    pub table: Option<Table>,
    /// As on the wire: counted from 0.
    pub address: u16,
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    /// Of a `bool` in a register; 0 is the least significant.
    pub bit: Option<u8>,
    /// Registers of a `string`.
    pub length: Option<u16>,
    pub order: Option<Order>,
    pub scale: Option<f64>,
    #[serde(default)]
    pub offset: f64,
    /// Of a `bool` whose 0 means true.
    #[serde(default)]
    pub invert: bool,
    /// The point that holds the power of ten to multiply by.
    pub exponent: Option<String>,
    #[serde(default)]
    pub unit: String,
    pub reading: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub fact: Option<String>,
    /// Numbers to texts, for facts.
    #[serde(default)]
    pub map: BTreeMap<String, String>,
    pub missing: Option<MissingFile>,
    /// Some of these devices do not have it, and that is no fault.
    #[serde(default)]
    pub optional: bool,
    pub set: Option<SetFile>,
}

/// Numbers in the register that mean "not available".
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum MissingFile {
    /// `sunspec`: the value that SunSpec reserves in each type.
    Convention(Convention),
    These(Vec<Literal>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    Sunspec,
}

/// A number, or in quotes a text or a number too great for TOML (`"0xffffffffffffffff"`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    Int(i64),
    Float(f64),
    Text(String),
}

/// How a point is set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFile {
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// The value must be `min` plus a multiple of it.
    pub step: Option<f64>,
    /// The value may differ from the present one by at most this.
    pub change_max: Option<f64>,
    /// The only values that are allowed.
    #[serde(default)]
    pub values: Vec<f64>,
    /// Least time between two writes, in seconds.
    pub interval_s: Option<u64>,
    /// The function: `single` (5, 6) or `multiple` (15, 16).
    pub write: Option<WriteBy>,
    /// The point that shows what was set, when it is another one.
    pub read_back: Option<String>,
    /// How far the value read back may be from the one set.
    #[serde(default)]
    pub tolerance: f64,
    /// Written also when it already reads so: the device falls back to a safe value by itself when writes stop.
    #[serde(default)]
    pub renew: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteBy {
    Single,
    Multiple,
}
