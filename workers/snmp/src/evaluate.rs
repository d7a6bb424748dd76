//! From values read to readings and facts, by a profile. Pure.

use crate::convert;
use crate::profile::{Entry, Label, LabelFrom, ReadingShape, Scalars, Table};
use async_snmp::Value;
use sengu_sdk::{Reading, limits};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// Readings and facts gathered for one observation.
#[derive(Debug, Default)]
pub struct Gathered {
    pub readings: Vec<Reading>,
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// One row of a table: its index, and a value (or none) per column of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub index: Vec<u32>,
    pub values: Vec<Option<Value>>,
}

impl Gathered {
    /// Takes in the scalars; `values` has one place per OID of `scalars`.
    pub fn scalars(&mut self, scalars: &Scalars, values: &[Option<Value>]) {
        for entry in &scalars.values {
            self.entry(entry, values, &BTreeMap::new());
        }
    }

    /// Takes in a table.
    pub fn table(&mut self, table: &Table, rows: &[Row]) {
        let mut seen = HashSet::new();
        for row in rows {
            let mut labels = labels(&table.labels, row);
            // Two rows of one name (interfaces without names, say) must not become one series.
            if !seen.insert(labels.clone()) {
                labels.insert("index".to_owned(), dotted(&row.index));
            }
            for entry in &table.values {
                self.entry(entry, &row.values, &labels);
            }
        }
    }

    /// Drops what is more than sengu keeps of a target, and says so in `cut`.
    pub fn limit(&mut self, cut: &mut Vec<(String, String)>) {
        // One is left for the reading that tells of it.
        let most = limits::READINGS_PER_TARGET_MAX - 1;
        if self.readings.len() > most {
            let why = format!("{} of them, {most} are kept", self.readings.len());
            cut.push(("readings".to_owned(), why));
            self.readings.truncate(most);
        }
        let facts = self.facts.len();
        if facts > limits::FACTS_PER_TARGET_MAX {
            let why = format!("{facts} of them, {} are kept", limits::FACTS_PER_TARGET_MAX);
            cut.push(("facts".to_owned(), why));
            while self.facts.len() > limits::FACTS_PER_TARGET_MAX {
                self.facts.pop_last();
            }
        }
    }

    fn entry(
        &mut self,
        entry: &Entry,
        values: &[Option<Value>],
        labels: &BTreeMap<String, String>,
    ) {
        let at = |slot: usize| values.get(slot).and_then(Option::as_ref);
        let Some(value) = at(entry.slot) else { return };
        let holds = |(slot, wanted): &(usize, Vec<i64>)| {
            at(*slot)
                .and_then(convert::integer)
                .is_some_and(|n| wanted.contains(&n))
        };
        if !entry.when.iter().all(holds) {
            return;
        }
        let raw = convert::number(value);
        if raw.is_some_and(|n| entry.missing.contains(&n)) {
            return;
        }
        if let Some(fact) = &entry.fact
            && let Some(text) = fact_text(entry, value)
        {
            self.facts.insert(fill(fact, labels), json!(text));
        }
        let shape = match &entry.by {
            Some((slot, cases)) => at(*slot)
                .and_then(convert::integer)
                .and_then(|n| cases.get(&n)),
            None => entry.reading.as_ref(),
        };
        let (Some(shape), Some(raw)) = (shape, raw) else {
            return;
        };
        let mut power = 0i32;
        for exponent in &entry.exponent {
            let Some(n) = at(exponent.slot).and_then(convert::integer) else {
                return;
            };
            let step = if exponent.map.is_empty() {
                i32::try_from(n).ok()
            } else {
                exponent.map.get(&n).copied()
            };
            let Some(step) = step.filter(|s| s.abs() <= 30) else {
                return;
            };
            power += if exponent.negate { -step } else { step };
        }
        let mut factor = 1.0;
        for slot in &entry.multiply {
            match at(*slot).and_then(convert::number) {
                Some(n) => factor *= n,
                None => return,
            }
        }
        let Some(value) = scaled(shape, raw, power) else {
            return;
        };
        let value = value * factor;
        let mut reading = Reading::new(&shape.name, value, &shape.unit);
        reading.labels = labels.clone();
        for (name, value) in &entry.labels {
            reading.labels.insert(name.clone(), value.clone());
        }
        self.readings.push(reading);
    }
}

fn scaled(shape: &ReadingShape, raw: f64, power: i32) -> Option<f64> {
    if !shape.values.is_empty() {
        return (raw.fract() == 0.0)
            .then(|| shape.values.get(&(raw as i64)).copied())
            .flatten();
    }
    // Division by a whole power of ten is exact where multiplication by 0.1 is not.
    let value = if power < 0 {
        raw / 10f64.powi(-power)
    } else {
        raw * 10f64.powi(power)
    };
    let inverse = 1.0 / shape.scale;
    let value = if shape.scale.abs() < 1.0 && inverse.fract().abs() < 1e-9 {
        value / inverse.round()
    } else {
        value * shape.scale
    };
    let value = value + shape.offset;
    value.is_finite().then_some(value)
}

fn fact_text(entry: &Entry, value: &Value) -> Option<String> {
    let named = convert::integer(value).and_then(|n| entry.map.get(&n));
    match named {
        Some(name) => Some(name.clone()),
        None => convert::text(value).filter(|t| !t.is_empty()),
    }
}

fn labels(labels: &[Label], row: &Row) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for label in labels {
        let (number, text) = match &label.from {
            LabelFrom::WholeIndex => (None, Some(dotted(&row.index))),
            LabelFrom::IndexPart(n) => {
                let part = row.index.get(*n).copied();
                (part.map(i64::from), part.map(|p| p.to_string()))
            }
            LabelFrom::Columns(slots) => slots
                .iter()
                .filter_map(|slot| row.values.get(*slot).and_then(Option::as_ref))
                .map(|value| (convert::integer(value), convert::text(value)))
                .find(|(_, text)| text.as_ref().is_some_and(|t| !t.is_empty()))
                // A row without a name is still told apart by its index.
                .unwrap_or_else(|| (None, Some(dotted(&row.index)))),
        };
        let named = number.and_then(|n| label.map.get(&n).cloned());
        if let Some(text) = named.or(text) {
            out.insert(label.name.clone(), text);
        }
    }
    out
}

fn dotted(index: &[u32]) -> String {
    let parts: Vec<String> = index.iter().map(u32::to_string).collect();
    parts.join(".")
}

/// Puts labels into the name of a fact: `outlet_{outlet}_name`.
fn fill(template: &str, labels: &BTreeMap<String, String>) -> String {
    let mut name = template.to_owned();
    if name.contains('{') {
        for (key, value) in labels {
            name = name.replace(&format!("{{{key}}}"), value);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{File, Profile};

    fn profile(text: &str) -> Profile {
        let file: File = toml::from_str(text).unwrap();
        Profile::check(&file).unwrap()
    }

    fn shown(gathered: &Gathered) -> Vec<String> {
        let readings = gathered.readings.iter().map(|r| {
            let labels: Vec<String> = r.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}{{{}}} {} {}", r.name, labels.join(","), r.value, r.unit)
        });
        let facts = gathered.facts.iter().map(|(k, v)| format!("{k}: {v}"));
        readings.chain(facts).collect()
    }

    #[test]
    fn scalars_are_scaled_mapped_and_left_out() {
        let table: [(&str, Value, &[&str]); 9] = [
            (
                "reading = \"t\"\nunit = \"s\"\nscale = 0.01",
                Value::TimeTicks(123),
                &["t{} 1.23 s"],
            ),
            (
                "reading = \"t\"\nscale = 3600",
                Value::Integer(2),
                &["t{} 7200 "],
            ),
            (
                "reading = \"t\"\nscale = 0.1\noffset = -273.15",
                Value::Integer(2950),
                &["t{} 21.850000000000023 "],
            ),
            (
                "reading = \"on\"\nvalues = { 1 = 1, 2 = 0 }",
                Value::Integer(2),
                &["on{} 0 "],
            ),
            (
                "reading = \"on\"\nvalues = { 1 = 1, 2 = 0 }",
                Value::Integer(3),
                &[],
            ),
            ("reading = \"t\"\nmissing = [-1]", Value::Integer(-1), &[]),
            (
                "reading = \"t\"\nlabels = { outlet = \"3\" }",
                Value::Gauge32(5),
                &["t{outlet=3} 5 "],
            ),
            (
                "fact = \"state\"\nmap = { 2 = \"on battery\" }",
                Value::Integer(2),
                &["state: \"on battery\""],
            ),
            ("fact = \"model\"", Value::OctetString(" ".into()), &[]),
        ];
        for (meaning, value, expected) in table {
            let p = profile(&format!("[[scalar]]\noid = \"1.3.6.1.1.0\"\n{meaning}\n"));
            let mut gathered = Gathered::default();
            gathered.scalars(&p.scalars, &[Some(value)]);
            assert_eq!(shown(&gathered), expected, "{meaning}");
        }
    }

    #[test]
    fn what_is_more_than_sengu_keeps_is_dropped_and_said_so() {
        let mut gathered = Gathered::default();
        let mut cut = Vec::new();
        gathered.limit(&mut cut);
        assert!(cut.is_empty());
        let many = limits::READINGS_PER_TARGET_MAX + 5;
        gathered.readings = vec![Reading::new("a", 1.0, ""); many];
        for n in 0..300 {
            gathered.facts.insert(format!("f{n:03}"), json!(n));
        }
        gathered.limit(&mut cut);
        assert!(gathered.readings.len() < limits::READINGS_PER_TARGET_MAX);
        assert_eq!(gathered.facts.len(), limits::FACTS_PER_TARGET_MAX);
        assert_eq!(cut.len(), 2, "{cut:?}");
    }

    #[test]
    fn sensors_take_name_unit_and_scale_from_other_columns() {
        let p = profile(
            r#"
            [[table]]
            name = "sensors"
            entry = "1.3.6.1.2.1.99.1.1.1"
            labels = [{ name = "sensor", columns = ["1.3.6.1.2.1.47.1.1.1.1.7"] }]
            [[table.column]]
            column = 4
            when = [{ of = 5, in = [1] }]
            exponent = [{ of = 2, map = { 8 = -3, 9 = 0 } }, { of = 3, negate = true }]
            by = { of = 1, cases = { 8 = { reading = "celsius", unit = "Cel" }, 6 = { reading = "watts", unit = "W" } } }
            "#,
        );
        let columns = &p.tables[0].columns;
        assert_eq!(columns.len(), 6);
        let row =
            |index: u32, kind: i32, scale: i32, precision: i32, value: i32, ok: i32, name: &str| {
                let place = |oid: &str| columns.iter().position(|c| c.to_string() == oid).unwrap();
                let mut values = vec![None; 6];
                values[place("1.3.6.1.2.1.99.1.1.1.1")] = Some(Value::Integer(kind));
                values[place("1.3.6.1.2.1.99.1.1.1.2")] = Some(Value::Integer(scale));
                values[place("1.3.6.1.2.1.99.1.1.1.3")] = Some(Value::Integer(precision));
                values[place("1.3.6.1.2.1.99.1.1.1.4")] = Some(Value::Integer(value));
                values[place("1.3.6.1.2.1.99.1.1.1.5")] = Some(Value::Integer(ok));
                values[place("1.3.6.1.2.1.47.1.1.1.1.7")] =
                    Some(Value::OctetString(name.to_owned().into()));
                Row {
                    index: vec![index],
                    values,
                }
            };
        let mut gathered = Gathered::default();
        gathered.table(
            &p.tables[0],
            &[
                row(1, 8, 9, 1, 235, 1, "inlet"),
                row(2, 6, 8, 0, 1500, 1, "psu"),
                row(3, 8, 9, 1, 999, 2, "not ok"),
                row(4, 12, 9, 0, 1, 1, "truth value"),
                row(5, 8, 99, 0, 1, 1, "unknown scale"),
            ],
        );
        assert_eq!(
            shown(&gathered),
            ["celsius{sensor=inlet} 23.5 Cel", "watts{sensor=psu} 1.5 W"]
        );
    }

    #[test]
    fn rows_are_named_by_index_parts_columns_or_the_index() {
        let p = profile(
            r#"
            [[table]]
            name = "outlets"
            entry = "1.3.6.1.4.1.534.6.6.7.6.6.1"
            labels = [
              { name = "unit", index = 1, map = { 0 = "main" } },
              { name = "outlet", index = 2 },
            ]
            [[table.column]]
            column = 2
            reading = "on"
            fact = "outlet_{outlet}"
            map = { 1 = "on" }

            [[table]]
            name = "interfaces"
            entry = "1.3.6.1.2.1.31.1.1.1"
            labels = [{ name = "interface", columns = [1, "1.3.6.1.2.1.2.2.1.2"] }]
            [[table.column]]
            column = 6
            reading = "octets"
            "#,
        );
        let mut gathered = Gathered::default();
        let row = |index: &[u32], values: &[Value]| Row {
            index: index.to_vec(),
            values: values.iter().cloned().map(Some).collect(),
        };
        gathered.table(&p.tables[0], &[row(&[0, 7], &[Value::Integer(1)])]);
        let name = |t: &str| Value::OctetString(t.to_owned().into());
        gathered.table(
            &p.tables[1],
            &[
                row(&[1], &[Value::Counter64(10), name("eth0"), name("x")]),
                row(&[2], &[Value::Counter64(11), name(""), name("descr")]),
                row(&[3], &[Value::Counter64(12), name("eth0"), name("x")]),
                row(&[4], &[Value::Counter64(13), name(""), name("")]),
            ],
        );
        assert_eq!(
            shown(&gathered),
            [
                "on{outlet=7,unit=main} 1 ",
                "octets{interface=eth0} 10 ",
                "octets{interface=descr} 11 ",
                "octets{index=3,interface=eth0} 12 ",
                "octets{interface=4} 13 ",
                "outlet_7: \"on\"",
            ]
        );
    }
}
