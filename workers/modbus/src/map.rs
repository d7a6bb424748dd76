//! The register map of a device: checked once when it is read, so that nothing below has to check it again.
//!
//! Pure. A map that could be misunderstood is refused as a whole, with the point's name.

mod build;
mod file;

pub use file::{File, WriteBy};

use crate::batch::Place;
use crate::frame::Reply;
use crate::value::{self, Order, Raw, Type};
use file::Literal;
use std::collections::BTreeMap;

/// Powers of ten that a device may tell; SunSpec allows -10 to 10.
const EXPONENT_MAX: i128 = 10;

#[derive(Debug)]
pub struct Map {
    pub points: Vec<Point>,
    pub checks: Vec<Check>,
    pub facts: BTreeMap<String, String>,
    pub gap: u16,
    pub registers_max: u16,
    pub identify: bool,
}

#[derive(Debug)]
pub struct Point {
    pub name: String,
    pub place: Place,
    pub shape: Shape,
    scale: f64,
    offset: f64,
    /// A bool whose 0 means true.
    pub inverted: bool,
    /// Index of the point with the power of ten.
    pub exponent: Option<usize>,
    pub unit: String,
    pub reading: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub fact: Option<String>,
    texts: BTreeMap<i128, String>,
    missing: Vec<Sentinel>,
    pub optional: bool,
    pub set: Option<SetPoint>,
}

/// How the registers of a value are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    pub kind: Type,
    pub order: Order,
    pub bit: Option<u8>,
}

/// A value of a device in words of the user.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Sentinel {
    /// Signed or as the bits stand.
    Int(i128),
    Float(f64),
    Text(String),
}

#[derive(Debug)]
pub struct Check {
    pub place: Place,
    shape: Shape,
    values: Vec<Sentinel>,
}

#[derive(Debug)]
pub struct SetPoint {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub step: Option<f64>,
    pub change_max: Option<f64>,
    pub values: Vec<f64>,
    pub interval_s: u64,
    pub write: WriteBy,
    /// Index of the point that shows what was set; the point itself unless said.
    pub read_back: usize,
    pub tolerance: f64,
    pub renew: bool,
}

impl Map {
    pub fn places(&self) -> Vec<Place> {
        self.points.iter().map(|p| p.place).collect()
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.points.iter().position(|p| p.name == name)
    }

    /// The points whose value is told by an observation, and those needed for them.
    pub fn observed(&self) -> Vec<usize> {
        let told = |at: &usize| {
            let point = &self.points[*at];
            point.reading.is_some() || point.fact.is_some()
        };
        self.with_exponents((0..self.points.len()).filter(told).collect())
    }

    /// `wanted` and the points with their powers of ten.
    pub fn with_exponents(&self, mut wanted: Vec<usize>) -> Vec<usize> {
        let more: Vec<usize> = wanted
            .iter()
            .filter_map(|at| self.points[*at].exponent)
            .collect();
        wanted.extend(more);
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// The value of a point in the user's unit. `raws` are what was read, by index; none = not available.
    pub fn value(&self, at: usize, raws: &BTreeMap<usize, Raw>) -> Option<Value> {
        let point = &self.points[at];
        let raw = raws.get(&at)?;
        let number = match raw {
            Raw::Bool(on) => return Some(Value::Bool(*on != point.inverted)),
            Raw::Text(text) => return Some(Value::Text(text.clone())),
            Raw::Int(n) => *n as f64,
            Raw::Float(n) => *n,
        };
        let Some(exponent) = point.exponent else {
            return Some(Value::Number(point.scaled(number)));
        };
        let Raw::Int(power) = raws.get(&exponent)? else {
            return None;
        };
        if power.abs() > EXPONENT_MAX {
            return None;
        }
        // At most 10, checked above.
        let ten = 10f64.powi(*power as i32);
        Some(Value::Number(point.scaled(value::scaled(number, ten, 0.0))))
    }

    /// The text of a fact.
    pub fn fact(&self, at: usize, raws: &BTreeMap<usize, Raw>) -> Option<serde_json::Value> {
        let point = &self.points[at];
        if let Some(Raw::Int(n)) = raws.get(&at)
            && let Some(text) = point.texts.get(n)
        {
            return Some(text.clone().into());
        }
        let value = self.value(at, raws)?;
        match &value {
            Value::Text(text) if text.is_empty() => None,
            _ => Some(value.json()),
        }
    }
}

impl Value {
    pub fn json(&self) -> serde_json::Value {
        match self {
            Value::Bool(on) => (*on).into(),
            // Whole numbers without ".0".
            Value::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => (*n as i64).into(),
            Value::Number(n) => (*n).into(),
            Value::Text(text) => text.clone().into(),
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Bool(on) => Some(f64::from(u8::from(*on))),
            Value::Number(n) => Some(*n),
            Value::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.json())
    }
}

impl Point {
    fn scaled(&self, raw: f64) -> f64 {
        value::scaled(raw, self.scale, self.offset)
    }

    /// What the registers must hold for `value`.
    pub fn unscaled(&self, value: f64) -> f64 {
        value::unscaled(value, self.scale, self.offset)
    }

    /// The point's raw value in a reply that begins at `address`; none when it is not there or not available.
    pub fn raw(&self, address: u16, reply: &Reply) -> Option<Raw> {
        let raw = self.shape.of(self.place, address, reply)?;
        let gone = self.missing.iter().any(|s| s.is(self.shape.kind, &raw));
        (!gone).then_some(raw)
    }
}

impl Check {
    /// Whether this is what the map is for, and what stood there.
    ///
    /// # Errors
    /// What stood there instead.
    pub fn holds(&self, reply: &Reply) -> Result<(), String> {
        let raw = self.shape.of(self.place, self.place.address, reply);
        match &raw {
            Some(raw) if self.values.iter().any(|s| s.is(self.shape.kind, raw)) => Ok(()),
            Some(Raw::Int(n)) => Err(n.to_string()),
            Some(Raw::Float(n)) => Err(n.to_string()),
            Some(Raw::Bool(on)) => Err(on.to_string()),
            Some(Raw::Text(text)) => Err(format!("{text:?}")),
            None => Err("no value".to_owned()),
        }
    }
}

impl Shape {
    fn of(self, place: Place, address: u16, reply: &Reply) -> Option<Raw> {
        let from = usize::from(place.address.checked_sub(address)?);
        let to = from + usize::from(place.count);
        match reply {
            Reply::Bits(bits) => bits.get(from).map(|on| Raw::Bool(*on)),
            Reply::Registers(registers) => {
                let registers = registers.get(from..to)?;
                match self.bit {
                    Some(bit) => {
                        let Raw::Int(word) = value::decode(Type::U16, self.order, registers)?
                        else {
                            return None;
                        };
                        Some(Raw::Bool(word >> bit & 1 == 1))
                    }
                    None => value::decode(self.kind, self.order, registers),
                }
            }
            _ => None,
        }
    }
}

impl Sentinel {
    fn of(literal: &Literal) -> Sentinel {
        match literal {
            Literal::Int(n) => Sentinel::Int(i128::from(*n)),
            Literal::Float(n) => Sentinel::Float(*n),
            Literal::Text(text) => {
                let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
                let number = match hex {
                    Some(hex) => u64::from_str_radix(hex, 16).ok().map(i128::from),
                    None => text.parse::<u64>().ok().map(i128::from),
                };
                number.map_or_else(|| Sentinel::Text(text.clone()), Sentinel::Int)
            }
        }
    }

    fn is(&self, kind: Type, raw: &Raw) -> bool {
        match (self, raw) {
            // -32768 and 0x8000 are one register.
            (Sentinel::Int(s), Raw::Int(n)) => {
                s == n || (*s >= 0 && i128::from(kind.pattern(*n)) == *s)
            }
            (Sentinel::Int(s), Raw::Float(n)) => *s as f64 == *n,
            (Sentinel::Int(s), Raw::Bool(on)) => *s == i128::from(*on),
            (Sentinel::Int(s), Raw::Text(text)) => s.to_string() == *text,
            (Sentinel::Float(s), Raw::Float(n)) => s == n,
            (Sentinel::Float(s), Raw::Int(n)) => *s == *n as f64,
            (Sentinel::Text(s), Raw::Text(text)) => s == text,
            _ => false,
        }
    }

    /// SunSpec Device Information Model specification: "unimplemented" of each type.
    fn sunspec(kind: Type) -> Vec<Sentinel> {
        match kind {
            Type::U16 => vec![Sentinel::Int(0xffff)],
            Type::I16 => vec![Sentinel::Int(-0x8000)],
            Type::U32 => vec![Sentinel::Int(0xffff_ffff)],
            Type::I32 => vec![Sentinel::Int(-0x8000_0000)],
            Type::U64 => vec![Sentinel::Int(i128::from(u64::MAX))],
            Type::I64 => vec![Sentinel::Int(i128::from(i64::MIN))],
            Type::String => vec![Sentinel::Text(String::new())],
            // NaN is not available in any map.
            Type::Bool | Type::F32 | Type::F64 => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
