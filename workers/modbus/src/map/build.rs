//! From what is written to a map that is sound: every rule of a register map, each with its reason for the user.

use super::file::{CheckFile, Convention, File, MissingFile, PointFile, SetFile, WriteBy};
use super::{Check, Map, Point, Sentinel, SetPoint, Shape};
use crate::batch::Place;
use crate::frame::{REGISTERS_PER_READ_MAX, Table};
use crate::value::Type;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Points of one map: what one observation may bring is limited, too.
const POINTS_MAX: usize = 2_000;
/// Checks cost a request each, per connection.
const CHECKS_MAX: usize = 16;
/// A register read along costs two bytes, a request of its own some twenty and a turn of the line.
const GAP_DEFAULT: u16 = 8;

impl Map {
    /// One map of several files; what comes later wins, points by name.
    ///
    /// # Errors
    /// A line for the user that names the point.
    pub fn build(files: Vec<File>) -> Result<Map, String> {
        let mut map = Map {
            points: Vec::new(),
            checks: Vec::new(),
            facts: BTreeMap::new(),
            gap: GAP_DEFAULT,
            registers_max: REGISTERS_PER_READ_MAX,
            identify: true,
        };
        // By name, in the order of the first mention.
        let mut written: Vec<PointFile> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        for mut file in files {
            map.gap = file.gap.unwrap_or(map.gap).min(REGISTERS_PER_READ_MAX);
            if let Some(max) = file.registers_max {
                if !(1..=REGISTERS_PER_READ_MAX).contains(&max) {
                    return Err(format!("registers_max: 1 to {REGISTERS_PER_READ_MAX}"));
                }
                map.registers_max = max;
            }
            map.identify = file.identify.unwrap_or(map.identify);
            for check in std::mem::take(&mut file.checks) {
                map.checks.push(checked(&file, &check)?);
            }
            let mut own = BTreeSet::new();
            for mut point in std::mem::take(&mut file.points) {
                with_defaults(&mut point, &file);
                if !own.insert(point.name.clone()) {
                    return Err(format!("point {:?} is there twice", point.name));
                }
                match index.get(&point.name) {
                    Some(at) => written[*at] = point,
                    None => {
                        index.insert(point.name.clone(), written.len());
                        written.push(point);
                    }
                }
            }
            map.facts.extend(file.facts);
        }
        if written.len() > POINTS_MAX || map.checks.len() > CHECKS_MAX {
            return Err(format!("over {POINTS_MAX} points or {CHECKS_MAX} checks"));
        }
        for point in written {
            let name = point.name.clone();
            let built = built(point, &index).map_err(|why| format!("point {name:?}: {why}"))?;
            map.points.push(built);
        }
        map.cross_checks()?;
        Ok(map)
    }

    fn cross_checks(&self) -> Result<(), String> {
        for point in &self.points {
            let wrong = |why: String| Err(format!("point {:?}: {why}", point.name));
            if let Some(exponent) = point.exponent.map(|at| &self.points[at])
                && (!exponent.shape.kind.is_integer() || exponent.exponent.is_some())
            {
                return wrong(format!("exponent {:?} is no plain integer", exponent.name));
            }
            let Some(set) = &point.set else { continue };
            let shown = &self.points[set.read_back];
            if (shown.shape.kind == Type::Bool) != (point.shape.kind == Type::Bool)
                || shown.shape.kind == Type::String
            {
                return wrong(format!("read_back {:?} is of another type", shown.name));
            }
            if point.exponent.is_some() {
                return wrong("a point with an exponent cannot be set".to_owned());
            }
            if point.place.count > self.registers_max {
                return wrong("wider than registers_max".to_owned());
            }
        }
        match self
            .points
            .iter()
            .find(|p| p.place.count > self.limit(p.place.table))
        {
            Some(point) => Err(format!("point {:?}: wider than registers_max", point.name)),
            None => Ok(()),
        }
    }

    fn limit(&self, table: Table) -> u16 {
        if table.is_bits() {
            1
        } else {
            self.registers_max
        }
    }
}

fn with_defaults(point: &mut PointFile, file: &File) {
    point.table = point.table.or(file.defaults.table);
    point.order = point.order.or(file.defaults.order);
    if point.kind.is_none() && !point.table.is_some_and(Table::is_bits) && point.bit.is_none() {
        point.kind = file.defaults.kind;
    }
    if point.missing.is_none() {
        point.missing = file.defaults.missing.clone();
    }
}

fn built(file: PointFile, index: &HashMap<String, usize>) -> Result<Point, String> {
    let name = &file.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let table = file.table.ok_or("no table, and no default one")?;
    let kind = file
        .kind
        .unwrap_or(if table.is_bits() || file.bit.is_some() {
            Type::Bool
        } else {
            Type::U16
        });
    let shape = Shape {
        kind,
        order: file.order.unwrap_or_default(),
        bit: file.bit,
    };
    let place = placed(table, file.address, file.length, shape)?;
    let scale = file.scale.unwrap_or(1.0);
    let same = |at: &String| index.get(at).copied().ok_or(format!("no point {at:?}"));
    let texts = file.map.iter().map(|(number, text)| {
        let number = number
            .parse()
            .map_err(|_| format!("map: {number:?} is no number"))?;
        Ok((number, text.clone()))
    });
    let texts = texts.collect::<Result<_, String>>()?;
    let exponent = file.exponent.as_ref().map(same).transpose()?;
    let own = *index.get(name).ok_or("not in the map")?;
    let read_back = file.set.as_ref().and_then(|s| s.read_back.as_ref());
    let read_back = read_back.map(same).transpose()?.unwrap_or(own);
    let set = file.set.map(|set| settable(set, place, shape, read_back));
    let rules = [
        (
            !name.is_empty() && name.len() <= 64 && name.chars().all(plain),
            "name: small letters, digits and _",
        ),
        (
            scale != 0.0 && scale.is_finite() && file.offset.is_finite(),
            "scale: not 0, and both finite",
        ),
        (
            file.reading
                .as_ref()
                .is_none_or(|r| !r.is_empty() && r.chars().all(plain)),
            "reading: small letters, digits and _",
        ),
        (
            file.reading.is_none() || kind != Type::String,
            "a string is no reading: make it a fact",
        ),
        (
            kind != Type::Bool || scale == 1.0 && file.offset == 0.0 && exponent.is_none(),
            "a bool has no scale: use invert",
        ),
        (kind == Type::Bool || !file.invert, "invert: only of a bool"),
        (
            file.map.is_empty() || file.fact.is_some(),
            "map: only for facts",
        ),
        (
            kind != Type::Bool
                || file.missing.is_none()
                || !matches!(file.missing, Some(MissingFile::These(_))),
            "missing: a bool has no value to spare",
        ),
    ];
    if let Some((_, why)) = rules.iter().find(|(ok, _)| !ok) {
        return Err((*why).to_owned());
    }
    Ok(Point {
        place,
        shape,
        scale,
        offset: file.offset,
        inverted: file.invert,
        exponent,
        unit: file.unit,
        reading: file.reading,
        labels: file.labels,
        fact: file.fact,
        texts,
        missing: match &file.missing {
            None => Vec::new(),
            Some(MissingFile::Convention(Convention::Sunspec)) => Sentinel::sunspec(kind),
            Some(MissingFile::These(list)) => list.iter().map(Sentinel::of).collect(),
        },
        optional: file.optional,
        set: set.transpose()?,
        name: file.name,
    })
}

fn placed(table: Table, address: u16, length: Option<u16>, shape: Shape) -> Result<Place, String> {
    let count = match (shape.kind, length) {
        (Type::String, Some(length @ 1..=REGISTERS_PER_READ_MAX)) => length,
        (Type::String, _) => {
            return Err(format!(
                "a string has a length, 1 to {REGISTERS_PER_READ_MAX} registers"
            ));
        }
        (_, Some(_)) => return Err("length: only of a string".to_owned()),
        (kind, None) => kind.words(),
    };
    match (table.is_bits(), shape.kind, shape.bit) {
        (true, Type::Bool, None) | (false, Type::Bool, Some(0..=15)) => {}
        (true, ..) => return Err(format!("a {table} is a bool, without bit")),
        (false, Type::Bool, _) => return Err("a bool in a register has a bit, 0 to 15".to_owned()),
        (false, _, Some(_)) => return Err("bit: only of a bool".to_owned()),
        (false, _, None) => {}
    }
    let place = Place {
        table,
        address,
        count,
    };
    if place.end() > 0x1_0000 {
        return Err("beyond the last address".to_owned());
    }
    Ok(place)
}

fn settable(
    file: SetFile,
    place: Place,
    shape: Shape,
    read_back: usize,
) -> Result<SetPoint, String> {
    let numbers = [file.min, file.max, file.step, file.change_max];
    let fits = |v: &f64| file.min.is_none_or(|m| *v >= m) && file.max.is_none_or(|m| *v <= m);
    let bounded = file.min.is_some() && file.max.is_some() || !file.values.is_empty();
    let bits = place.table.is_bits();
    let write = file.write.unwrap_or(if bits || place.count == 1 {
        WriteBy::Single
    } else {
        WriteBy::Multiple
    });
    let rules = [
        (
            matches!(place.table, Table::Coil | Table::Holding),
            "set: only coils and holding registers can be set",
        ),
        (
            shape.bit.is_none(),
            "set: one bit of a register cannot be set without its neighbours",
        ),
        (shape.kind != Type::String, "set: a string cannot be set"),
        // What has no bounds has no safe value either.
        (bounded || bits, "set: needs min and max, or values"),
        (
            !bits || numbers.iter().all(Option::is_none) && file.values.is_empty(),
            "set: a bool has no bounds",
        ),
        (
            numbers
                .iter()
                .flatten()
                .chain(&file.values)
                .all(|n| n.is_finite()),
            "set: numbers are finite",
        ),
        (
            file.min.zip(file.max).is_none_or(|(min, max)| min < max),
            "set: min is less than max",
        ),
        (
            file.step.is_none_or(|s| s > 0.0) && file.change_max.is_none_or(|s| s > 0.0),
            "set: step and change_max are over 0",
        ),
        (
            file.step.is_none() || file.min.is_some(),
            "set: step counts from min",
        ),
        (
            file.values.iter().all(fits),
            "set: values lie within min and max",
        ),
        (
            file.tolerance >= 0.0 && file.tolerance.is_finite(),
            "set: tolerance is 0 or more",
        ),
        (
            write == WriteBy::Multiple || bits || place.count == 1,
            "set: write = \"single\" is for one register",
        ),
    ];
    if let Some((_, why)) = rules.iter().find(|(ok, _)| !ok) {
        return Err((*why).to_owned());
    }
    Ok(SetPoint {
        min: file.min,
        max: file.max,
        step: file.step,
        change_max: file.change_max,
        values: file.values,
        interval_s: file.interval_s.unwrap_or(0),
        write,
        read_back,
        tolerance: file.tolerance,
        renew: file.renew,
    })
}

fn checked(file: &File, check: &CheckFile) -> Result<Check, String> {
    let at = check.address;
    let built = || {
        let table = check.table.or(file.defaults.table).ok_or("no table")?;
        let shape = Shape {
            kind: check.kind.unwrap_or(Type::U16),
            order: check.order.or(file.defaults.order).unwrap_or_default(),
            bit: None,
        };
        if check.values.is_empty() {
            return Err("in: at least one value".to_owned());
        }
        Ok(Check {
            place: placed(table, at, check.length, shape)?,
            shape,
            values: check.values.iter().map(Sentinel::of).collect(),
        })
    };
    built().map_err(|why: String| format!("check at {at}: {why}"))
}
