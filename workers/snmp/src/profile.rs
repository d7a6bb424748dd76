//! One profile file: which objects of a device become which readings and facts. Pure: text in, a checked value out.
//!
//! It exists so that a new device family is a file and not a release. It must never read a file or speak to a device.

mod file;

use async_snmp::Oid;
pub use file::{CommandFile, File, Kind, OutletFile};
use file::{MeaningFile, Reference, TableFile};
use std::collections::BTreeMap;

/// Values that a table may add to one observation; a profile cannot ask for more.
pub const ROWS_MAX: usize = 2_000;
const ROWS_DEFAULT: usize = 500;
/// Columns of one table, references included.
const COLUMNS_MAX: usize = 40;
/// Scalars of one profile, references included.
const SCALARS_MAX: usize = 400;

/// A checked profile without its includes. Slots are places in the section's list of objects.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub facts: BTreeMap<String, String>,
    pub scalars: Scalars,
    pub tables: Vec<Table>,
    pub outlet: Option<Outlet>,
}

#[derive(Debug, Clone, Default)]
pub struct Scalars {
    pub oids: Vec<Oid>,
    pub values: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Oid>,
    pub rows_max: usize,
    pub rows_stable: bool,
    pub labels: Vec<Label>,
    pub values: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub struct Label {
    pub name: String,
    pub from: LabelFrom,
    pub map: BTreeMap<i64, String>,
}

#[derive(Debug, Clone)]
pub enum LabelFrom {
    WholeIndex,
    /// From 0.
    IndexPart(usize),
    Columns(Vec<usize>),
}

/// One object and what its value means.
#[derive(Debug, Clone)]
pub struct Entry {
    pub slot: usize,
    pub reading: Option<ReadingShape>,
    pub by: Option<(usize, BTreeMap<i64, ReadingShape>)>,
    pub fact: Option<String>,
    pub map: BTreeMap<i64, String>,
    pub missing: Vec<f64>,
    pub exponent: Vec<Exponent>,
    pub multiply: Vec<usize>,
    pub when: Vec<(usize, Vec<i64>)>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct ReadingShape {
    pub name: String,
    pub unit: String,
    /// The wire does not carry it; worker.toml does, and a test holds the two together.
    #[cfg_attr(not(test), expect(dead_code))]
    pub kind: Kind,
    pub scale: f64,
    pub offset: f64,
    pub values: BTreeMap<i64, f64>,
}

#[derive(Debug, Clone)]
pub struct Exponent {
    pub slot: usize,
    pub map: BTreeMap<i64, i32>,
    pub negate: bool,
}

#[derive(Debug, Clone)]
pub struct Outlet {
    pub unit_default: u32,
    pub file: OutletFile,
}

impl Profile {
    /// Checks a file's content.
    ///
    /// # Errors
    /// One line that names the broken place.
    pub fn check(file: &File) -> Result<Profile, String> {
        for prefix in &file.matches {
            oid(prefix).map_err(|e| format!("match: {e}"))?;
        }
        let mut scalars = Scalars::default();
        for scalar in &file.scalars {
            let place = |e: String| format!("scalar {}: {e}", scalar.oid);
            let slot = slot(&mut scalars.oids, oid(&scalar.oid)?);
            let resolve = |r: &Reference, oids: &mut Vec<Oid>| match r {
                Reference::Oid(text) => Ok(self::slot(oids, oid(text)?)),
                Reference::Column(_) => Err("a scalar refers to others by full OID".to_owned()),
            };
            let entry = entry(slot, &scalar.meaning, &mut scalars.oids, resolve).map_err(place)?;
            scalars.values.push(entry);
        }
        if scalars.oids.len() > SCALARS_MAX {
            return Err(format!("more than {SCALARS_MAX} scalars"));
        }
        let tables = file.tables.iter().map(table).collect::<Result<_, _>>()?;
        let outlet = file.outlet.as_ref().map(outlet).transpose()?;
        Ok(Profile {
            facts: file.facts.clone(),
            scalars,
            tables,
            outlet,
        })
    }

    /// Adds what an included profile has. Own facts and outlets win.
    pub fn include(&mut self, other: &Profile) {
        for (name, value) in &other.facts {
            self.facts.entry(name.clone()).or_insert(value.clone());
        }
        // Slots are places in `oids`, so those of the other profile are translated.
        let places: Vec<usize> = other
            .scalars
            .oids
            .iter()
            .map(|oid| slot(&mut self.scalars.oids, oid.clone()))
            .collect();
        for entry in &other.scalars.values {
            let mut entry = entry.clone();
            entry.slot = places[entry.slot];
            for exponent in &mut entry.exponent {
                exponent.slot = places[exponent.slot];
            }
            for slot in &mut entry.multiply {
                *slot = places[*slot];
            }
            for (slot, _) in &mut entry.when {
                *slot = places[*slot];
            }
            if let Some((slot, _)) = &mut entry.by {
                *slot = places[*slot];
            }
            self.scalars.values.push(entry);
        }
        self.tables.extend(other.tables.iter().cloned());
        if self.outlet.is_none() {
            self.outlet = other.outlet.clone();
        }
    }

    /// All readings that this profile can give.
    #[cfg(test)]
    pub fn readings(&self) -> Vec<&ReadingShape> {
        let entries = self
            .scalars
            .values
            .iter()
            .chain(self.tables.iter().flat_map(|t| &t.values));
        entries
            .flat_map(|e| {
                let cases = e.by.iter().flat_map(|(_, cases)| cases.values());
                e.reading.iter().chain(cases)
            })
            .collect()
    }
}

impl Outlet {
    /// The OID of `template` for one outlet.
    ///
    /// # Errors
    /// Never for a checked profile: the template was tried with numbers.
    pub fn oid(&self, template: &str, unit: u32, outlet: u32) -> Result<Oid, String> {
        fill(template, unit, outlet)
    }
}

fn fill(template: &str, unit: u32, outlet: u32) -> Result<Oid, String> {
    let text = template
        .replace("{outlet}", &outlet.to_string())
        .replace("{unit}", &unit.to_string());
    oid(&text)
}

fn outlet(file: &OutletFile) -> Result<Outlet, String> {
    let mut templates = vec![&file.status.oid, &file.on.oid, &file.off.oid];
    templates.extend(file.cycle.iter().map(|c| &c.oid));
    templates.extend(file.pending.iter().map(|p| &p.oid));
    for template in templates {
        if !template.contains("{outlet}") {
            return Err(format!("outlet: {template:?} lacks {{outlet}}"));
        }
        fill(template, 0, 1).map_err(|e| format!("outlet: {e}"))?;
    }
    if file.status.on.is_empty() || file.status.off.is_empty() {
        return Err("outlet: status needs numbers for on and for off".to_owned());
    }
    Ok(Outlet {
        unit_default: file.unit_default,
        file: file.clone(),
    })
}

fn table(file: &TableFile) -> Result<Table, String> {
    let place = |e: String| format!("table {}: {e}", file.name);
    let prefix = oid(&file.entry).map_err(place)?;
    let resolve = |r: &Reference, columns: &mut Vec<Oid>| match r {
        Reference::Column(n) => Ok(slot(columns, prefix.child(*n))),
        Reference::Oid(text) => Ok(slot(columns, oid(text)?)),
    };
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for column in &file.columns {
        let slot = resolve(&column.column, &mut columns).map_err(place)?;
        let entry = entry(slot, &column.meaning, &mut columns, resolve)
            .map_err(|e| place(format!("column {:?}: {e}", column.column)))?;
        values.push(entry);
    }
    if values.is_empty() {
        return Err(place("no columns".to_owned()));
    }
    let mut labels = Vec::new();
    for label in &file.labels {
        let from = match (label.index, label.columns.is_empty()) {
            (Some(0), true) => LabelFrom::WholeIndex,
            (Some(n), true) => LabelFrom::IndexPart(n - 1),
            (None, false) => LabelFrom::Columns(
                label
                    .columns
                    .iter()
                    .map(|r| resolve(r, &mut columns))
                    .collect::<Result<_, String>>()
                    .map_err(place)?,
            ),
            _ => {
                return Err(place(format!(
                    "label {:?}: either index or columns",
                    label.name
                )));
            }
        };
        labels.push(Label {
            name: label.name.clone(),
            from,
            map: numbered(&label.map).map_err(place)?,
        });
    }
    if labels.is_empty() {
        labels.push(Label {
            name: "index".to_owned(),
            from: LabelFrom::WholeIndex,
            map: BTreeMap::new(),
        });
    }
    if columns.len() > COLUMNS_MAX {
        return Err(place(format!("more than {COLUMNS_MAX} columns")));
    }
    let rows_max = file.rows_max.unwrap_or(ROWS_DEFAULT);
    if !(1..=ROWS_MAX).contains(&rows_max) {
        return Err(place(format!("rows_max: 1 to {ROWS_MAX}")));
    }
    Ok(Table {
        name: file.name.clone(),
        columns,
        rows_max,
        rows_stable: file.rows_stable,
        labels,
        values,
    })
}

fn entry(
    slot: usize,
    file: &MeaningFile,
    oids: &mut Vec<Oid>,
    mut resolve: impl FnMut(&Reference, &mut Vec<Oid>) -> Result<usize, String>,
) -> Result<Entry, String> {
    let targets = [
        file.reading.is_some(),
        file.by.is_some(),
        file.fact.is_some(),
    ];
    if !targets.contains(&true) {
        return Err("gives neither reading, fact nor by".to_owned());
    }
    if file.reading.is_some() && file.by.is_some() {
        return Err("either reading or by".to_owned());
    }
    let reading = match &file.reading {
        Some(name) => Some(ReadingShape {
            name: reading_name(name)?,
            unit: file.unit.clone(),
            kind: file.kind,
            scale: finite(file.scale.unwrap_or(1.0))?,
            offset: finite(file.offset)?,
            values: numbered(&file.values)?,
        }),
        None => None,
    };
    let by = match &file.by {
        Some(by) => {
            let slot = resolve(&by.of, oids)?;
            let mut cases = BTreeMap::new();
            for (number, case) in &by.cases {
                let shape = ReadingShape {
                    name: reading_name(&case.reading)?,
                    unit: case.unit.clone(),
                    kind: case.kind,
                    scale: finite(case.scale.unwrap_or(1.0))?,
                    offset: finite(case.offset)?,
                    values: BTreeMap::new(),
                };
                cases.insert(parse_number(number)?, shape);
            }
            Some((slot, cases))
        }
        None => None,
    };
    let mut exponent = Vec::new();
    for e in &file.exponent {
        exponent.push(Exponent {
            slot: resolve(&e.of, oids)?,
            map: numbered(&e.map)?,
            negate: e.negate,
        });
    }
    let mut multiply = Vec::new();
    for reference in &file.multiply {
        multiply.push(resolve(reference, oids)?);
    }
    let mut when = Vec::new();
    for w in &file.when {
        when.push((resolve(&w.of, oids)?, w.values.clone()));
    }
    Ok(Entry {
        slot,
        reading,
        by,
        fact: file.fact.clone(),
        map: numbered(&file.map)?,
        missing: file.missing.clone(),
        exponent,
        multiply,
        when,
        labels: file.labels.clone(),
    })
}

/// The place of `oid` in the list, appended when it is new.
fn slot(oids: &mut Vec<Oid>, oid: Oid) -> usize {
    oids.iter().position(|o| *o == oid).unwrap_or_else(|| {
        oids.push(oid);
        oids.len() - 1
    })
}

/// Parses a full OID.
///
/// # Errors
/// When it is none that can go on the wire.
pub fn oid(text: &str) -> Result<Oid, String> {
    let oid = Oid::parse(text).map_err(|_| format!("{text:?} is no OID"))?;
    if oid.len() < 3 || oid.validate_for_wire().is_err() {
        return Err(format!("{text:?} is no full OID"));
    }
    Ok(oid)
}

fn numbered<T: Clone>(map: &BTreeMap<String, T>) -> Result<BTreeMap<i64, T>, String> {
    map.iter()
        .map(|(k, v)| Ok((parse_number(k)?, v.clone())))
        .collect()
}

fn parse_number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("{text:?}: a number was expected"))
}

fn finite(number: f64) -> Result<f64, String> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err("scale and offset are finite numbers".to_owned())
    }
}

fn reading_name(name: &str) -> Result<String, String> {
    let first = name
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == b'_');
    let rest = name
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    if first && rest && name.len() <= 128 {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "{name:?} is no reading name: small letters, digits and _"
        ))
    }
}
