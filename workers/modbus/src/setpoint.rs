//! What may be written: every limit of a set point, decided before anything is sent.
//!
//! Pure. A value outside its limits is refused with the limit named; it is never clipped to fit.

use crate::frame::{Table, Write};
use crate::map::{Map, Value, WriteBy};
use crate::value::{self, Raw, Type};
use serde_json::Value as Json;

/// Slack for decimal fractions, relative to the size of the number.
const SLACK: f64 = 1e-9;

/// A value that may be written as far as the map can tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub value: Value,
    registers: Vec<u16>,
}

impl Wanted {
    /// `wanted` for the point at `at`, whatever stands there now.
    ///
    /// # Errors
    /// A line for the user that names the limit.
    pub fn check(map: &Map, at: usize, wanted: &Json) -> Result<Wanted, String> {
        let point = &map.points[at];
        let name = &point.name;
        let set = point.set.as_ref();
        let set = set.ok_or_else(|| format!("{name} cannot be set"))?;
        if point.shape.kind == Type::Bool {
            let Some(on) = wanted.as_bool() else {
                return Err(format!("{name} is true or false"));
            };
            return Ok(Wanted {
                value: Value::Bool(on),
                registers: vec![u16::from(on != point.inverted)],
            });
        }
        let number = wanted.as_f64().filter(|n| n.is_finite());
        let number = number.ok_or_else(|| format!("{name} is a number"))?;
        let unit = if point.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", point.unit)
        };
        if let Some(min) = set.min.filter(|min| number < *min) {
            return Err(format!("{name}: {number} is under the least, {min}{unit}"));
        }
        if let Some(max) = set.max.filter(|max| number > *max) {
            return Err(format!("{name}: {number} is over the most, {max}{unit}"));
        }
        if !set.values.is_empty() && !set.values.iter().any(|v| near(*v, number, 0.0)) {
            let list: Vec<String> = set.values.iter().map(f64::to_string).collect();
            return Err(format!("{name}: {number} is none of {}", list.join(", ")));
        }
        if let Some((step, min)) = set.step.zip(set.min) {
            let steps = (number - min) / step;
            if !near(steps, steps.round(), 0.0) {
                return Err(format!(
                    "{name}: {number} is no step of {step}{unit} from {min}"
                ));
            }
        }
        let raw = point.unscaled(number);
        let raw = if point.shape.kind.is_integer() {
            if !near(raw, raw.round(), 0.0) || raw.abs() > 9e15 {
                return Err(format!("{name}: the register cannot hold {number} exactly"));
            }
            Raw::Int(raw.round() as i128)
        } else {
            Raw::Float(raw)
        };
        let registers = value::encode(point.shape.kind, point.shape.order, &raw)
            .map_err(|why| format!("{name}: {why}"))?;
        Ok(Wanted {
            value: Value::Number(number),
            registers,
        })
    }

    /// Whether it may be reached from `before` at once.
    ///
    /// # Errors
    /// A line for the user that names the limit.
    pub fn check_change(&self, map: &Map, at: usize, before: &Value) -> Result<(), String> {
        let point = &map.points[at];
        let most = point.set.as_ref().and_then(|set| set.change_max);
        let (Some(most), Some(from), Some(to)) = (most, before.number(), self.value.number())
        else {
            return Ok(());
        };
        let change = (to - from).abs();
        if change > most && !near(change, most, 0.0) {
            return Err(format!(
                "{}: from {from} to {to} is a change of more than {most} at once",
                point.name
            ));
        }
        Ok(())
    }

    /// Whether `seen`, in the point that shows it, is what was wanted.
    pub fn is_seen(&self, map: &Map, at: usize, seen: &Value) -> bool {
        let tolerance = map.points[at].set.as_ref().map_or(0.0, |s| s.tolerance);
        match (&self.value, seen) {
            (Value::Bool(wanted), Value::Bool(seen)) => wanted == seen,
            (Value::Number(wanted), Value::Number(seen)) => near(*wanted, *seen, tolerance),
            _ => false,
        }
    }

    /// The one request that sets it.
    pub fn write(&self, map: &Map, at: usize) -> Write {
        let point = &map.points[at];
        let address = point.place.address;
        let by = point.set.as_ref().map(|set| set.write);
        let first = self.registers.first().copied().unwrap_or_default();
        match (point.place.table, by) {
            (Table::Coil, Some(WriteBy::Multiple)) => Write::Coils {
                address,
                on: first != 0,
            },
            (Table::Coil, _) => Write::Coil {
                address,
                on: first != 0,
            },
            (_, Some(WriteBy::Single)) if self.registers.len() == 1 => Write::Register {
                address,
                value: first,
            },
            _ => Write::Registers {
                address,
                values: self.registers.clone(),
            },
        }
    }
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance + SLACK * a.abs().max(b.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Request;
    use serde_json::json;

    fn map(line: &str) -> Map {
        let text = format!("point = [{{ name = 'p', {line} }}]");
        Map::build(vec![toml::from_str(&text).unwrap()]).unwrap()
    }

    const AIR: &str = "table='holding', address=100, type='i16', scale=0.1, unit='Cel', \
                       set={min=16,max=30,step=0.5,change_max=4}";

    #[test]
    fn only_what_lies_within_every_limit_may_be_written() {
        let table = [
            (AIR, json!(16), Ok("[6, 0, 100, 0, 160]")),
            (AIR, json!(21.5), Ok("[6, 0, 100, 0, 215]")),
            (AIR, json!(30), Ok("[6, 0, 100, 1, 44]")),
            (AIR, json!(15.5), Err("under the least, 16 Cel")),
            (AIR, json!(30.5), Err("over the most, 30 Cel")),
            (AIR, json!(21.3), Err("no step of 0.5 Cel")),
            (AIR, json!("21"), Err("is a number")),
            (AIR, json!(true), Err("is a number")),
            (AIR, json!(null), Err("is a number")),
            (
                "table='holding', address=1, scale=0.1, set={min=0,max=10}",
                json!(1.25),
                Err("cannot hold 1.25"),
            ),
            (
                "table='holding', address=1, set={min=-5,max=10}",
                json!(-1),
                Err("outside 0 to 65535"),
            ),
            (
                "table='holding', address=1, set={values=[0,2]}",
                json!(1),
                Err("none of 0, 2"),
            ),
            (
                "table='holding', address=1, set={values=[0,2]}",
                json!(2),
                Ok("[6, 0, 1, 0, 2]"),
            ),
            (
                "table='holding', address=1, set={min=0,max=9,write='multiple'}",
                json!(2),
                Ok("[16, 0, 1, 0, 1, 2, 0, 2]"),
            ),
            (
                "table='holding', address=1, type='f32', order='cdab', set={min=0,max=1000}",
                json!(230.4),
                Ok("[16, 0, 1, 0, 2, 4, 102, 102, 67, 102]"),
            ),
            (
                "table='holding', address=1, type='u32', scale=10, set={min=0,max=9e9}",
                json!(1_000_000),
                Ok("[16, 0, 1, 0, 2, 4, 0, 1, 134, 160]"),
            ),
            (
                "table='coil', address=1, set={}",
                json!(true),
                Ok("[5, 0, 1, 255, 0]"),
            ),
            (
                "table='coil', address=1, invert=true, set={}",
                json!(true),
                Ok("[5, 0, 1, 0, 0]"),
            ),
            (
                "table='coil', address=1, set={write='multiple'}",
                json!(true),
                Ok("[15, 0, 1, 0, 1, 1, 1]"),
            ),
            (
                "table='coil', address=1, set={}",
                json!(1),
                Err("true or false"),
            ),
            ("table='holding', address=1", json!(1), Err("cannot be set")),
        ];
        for (line, value, expected) in table {
            let map = map(line);
            let got = Wanted::check(&map, 0, &value);
            match (got, expected) {
                (Ok(wanted), Ok(pdu)) => {
                    assert_eq!(format!("{:?}", wanted.write(&map, 0).pdu()), pdu, "{line}");
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{line} {value}: {why}"),
                (got, _) => panic!("{line} {value}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_change_that_is_too_great_at_once_is_refused() {
        let map = map(AIR);
        let wanted = Wanted::check(&map, 0, &json!(24)).unwrap();
        for (before, allowed) in [(20.0, true), (28.0, true), (19.9, false), (28.1, false)] {
            let got = wanted.check_change(&map, 0, &Value::Number(before));
            assert_eq!(got.is_ok(), allowed, "{before}: {got:?}");
        }
    }

    #[test]
    fn what_is_read_back_counts_within_the_tolerance_only() {
        let line = "table='holding', address=1, type='f32', set={min=0,max=100,tolerance=0.5}";
        let table = [
            (AIR, 21.5, 21.5, true),
            (AIR, 21.5, 21.6, false),
            (line, 21.3, 21.799, true),
            (line, 21.3, 21.9, false),
        ];
        for (line, wanted, seen, same) in table {
            let map = map(line);
            let wanted = Wanted::check(&map, 0, &json!(wanted)).unwrap();
            assert_eq!(
                wanted.is_seen(&map, 0, &Value::Number(seen)),
                same,
                "{seen}"
            );
        }
    }
}
