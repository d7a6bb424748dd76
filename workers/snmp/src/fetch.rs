//! GET of many values and bulk walks of tables, with the guards that real devices make necessary.
//!
//! It must never ask without an end: rows, requests and repetitions are limited, and OIDs have to increase.

use crate::convert;
use crate::evaluate::Row;
use crate::profile::Table;
use crate::session::Session;
use crate::trouble::Trouble;
use async_snmp::{Error, ErrorStatus, Oid, Value, VarBind};
use std::collections::{BTreeMap, HashMap};

/// Requests for one table; a table of `ROWS_MAX` rows needs a tenth of it with usual repetitions.
const REQUESTS_PER_TABLE_MAX: usize = 4_000;
/// Values asked for at once in a bulk walk, rows times columns: about what fits into one datagram.
const CELLS_PER_REQUEST_MAX: usize = 60;
/// Objects of one GET that may be refused by name (noSuchName from agents that know no exceptions) before it is given up.
const REFUSED_OIDS_MAX: usize = 8;

/// A table as far as it could be read.
#[derive(Debug)]
pub struct Walked {
    pub rows: Vec<Row>,
    /// Why there may be more rows than these.
    pub cut: Option<String>,
}

impl Session {
    /// The values of `oids`, in their order; what the device does not have is `None`.
    ///
    /// # Errors
    /// When the device does not answer or answers nonsense.
    pub async fn get(&self, oids: &[Oid]) -> Result<Vec<Option<Value>>, Trouble> {
        let mut asked = oids.to_vec();
        for _ in 0..=REFUSED_OIDS_MAX {
            if asked.is_empty() {
                return Ok(vec![None; oids.len()]);
            }
            match self.reads.get_many(&asked).await {
                Ok(response) => return Ok(in_order(oids, response.varbinds)),
                // An agent without exceptions refuses the whole request for one object: ask without it.
                Err(error) => match refused_oid(&error) {
                    Some(oid) if asked.contains(oid) => asked.retain(|o| o != oid),
                    _ => return Err(error.into()),
                },
            }
        }
        Err(Trouble::bad_reply(format!(
            "more than {REFUSED_OIDS_MAX} objects of one GET were refused by name"
        )))
    }

    /// All rows of a table.
    ///
    /// # Errors
    /// When the device does not answer, or not even one row fits into an answer.
    pub async fn walk(&self, table: &Table) -> Result<Walked, Trouble> {
        let mut walk = Walk::new(&table.columns, table.rows_max);
        let mut repetitions = self.repetitions();
        let mut width = table.columns.len().min(CELLS_PER_REQUEST_MAX);
        for _ in 0..REQUESTS_PER_TABLE_MAX {
            let (slots, cursors) = walk.next(width);
            if slots.is_empty() {
                return Ok(walk.end(None));
            }
            let fits = u32::try_from((CELLS_PER_REQUEST_MAX / slots.len()).max(1)).unwrap_or(1);
            let asked = repetitions.min(fits);
            match self.reads.get_bulk(&cursors, 0, asked).await {
                Ok(varbinds) => {
                    if let Some(cut) = walk.take(&slots, varbinds) {
                        return Ok(walk.end(Some(cut)));
                    }
                }
                Err(error) => match Trouble::from(error) {
                    // The device cannot answer this much at once: ask for fewer rows, then for fewer columns.
                    Trouble::TooBig if asked > 1 => repetitions = asked / 2,
                    Trouble::TooBig if width > 1 => width = width.div_ceil(2),
                    // Some devices fall silent on large bulk requests: one more try with few rows, and remember it.
                    Trouble::Silent(_) if asked > 2 => {
                        repetitions = 2;
                        self.lower_repetitions(2);
                    }
                    trouble => return Err(trouble),
                },
            }
        }
        Ok(walk.end(Some(format!("{REQUESTS_PER_TABLE_MAX} requests"))))
    }

    /// The known rows of a table by GET, together with `scalars`; fewer round trips than a walk.
    ///
    /// # Errors
    /// When the device does not answer.
    pub async fn get_with_rows(
        &self,
        scalars: &[Oid],
        tables: &[(&Table, &[Vec<u32>])],
    ) -> Result<(Vec<Option<Value>>, Vec<Vec<Row>>), Trouble> {
        let mut oids = scalars.to_vec();
        for (table, rows) in tables {
            for index in *rows {
                oids.extend(table.columns.iter().map(|column| below(column, index)));
            }
        }
        let mut values = self.get(&oids).await?.into_iter();
        let scalars = values.by_ref().take(scalars.len()).collect();
        let rows = tables.iter().map(|(table, rows)| {
            let row = |index: &Vec<u32>| Row {
                index: index.clone(),
                values: values.by_ref().take(table.columns.len()).collect(),
            };
            rows.iter().map(row).collect()
        });
        let rows = rows.collect();
        Ok((scalars, rows))
    }
}

fn below(column: &Oid, index: &[u32]) -> Oid {
    Oid::new(column.arcs().iter().chain(index).copied())
}

fn refused_oid(error: &Error) -> Option<&Oid> {
    match error.exchange_source() {
        Error::Snmp {
            status: ErrorStatus::NoSuchName | ErrorStatus::NoAccess,
            oid: Some(oid),
            ..
        } => Some(oid),
        _ => None,
    }
}

/// Values in the order they were asked for, whatever the device made of it.
fn in_order(oids: &[Oid], varbinds: Vec<VarBind>) -> Vec<Option<Value>> {
    let given = |v: Value| convert::present(&v).then_some(v);
    let straight =
        varbinds.len() == oids.len() && oids.iter().zip(&varbinds).all(|(oid, v)| *oid == v.oid);
    if straight {
        return varbinds.into_iter().map(|v| given(v.value)).collect();
    }
    let mut by_oid: HashMap<Oid, Value> = varbinds.into_iter().map(|v| (v.oid, v.value)).collect();
    oids.iter()
        .map(|oid| by_oid.remove(oid).and_then(given))
        .collect()
}

/// Where a walk stands. Pure, so that the guards are tested without a device.
struct Walk<'a> {
    columns: &'a [Oid],
    /// Last OID seen per column; `None` when the column is over.
    cursors: Vec<Option<Oid>>,
    rows: BTreeMap<Vec<u32>, Vec<Option<Value>>>,
    rows_max: usize,
    turn: usize,
}

impl<'a> Walk<'a> {
    fn new(columns: &'a [Oid], rows_max: usize) -> Walk<'a> {
        Walk {
            columns,
            cursors: columns.iter().cloned().map(Some).collect(),
            rows: BTreeMap::new(),
            rows_max,
            turn: 0,
        }
    }

    /// The columns to ask for next, at most `width`, with their cursors.
    fn next(&mut self, width: usize) -> (Vec<usize>, Vec<Oid>) {
        let n = self.columns.len();
        let open = (0..n).map(|i| (self.turn + i) % n);
        let open = open.filter_map(|slot| self.cursors[slot].clone().map(|c| (slot, c)));
        let (slots, cursors): (Vec<usize>, Vec<Oid>) = open.take(width).unzip();
        // With fewer columns per request than there are, all get their turn.
        self.turn = slots.last().map_or(0, |last| (last + 1) % n);
        (slots, cursors)
    }

    /// Takes in one answer; gives the reason when the walk has to stop short.
    fn take(&mut self, slots: &[usize], varbinds: Vec<VarBind>) -> Option<String> {
        if varbinds.is_empty() {
            return Some("an empty answer to a bulk request".to_owned());
        }
        for (at, varbind) in varbinds.into_iter().enumerate() {
            let slot = slots[at % slots.len()];
            let Some(cursor) = &self.cursors[slot] else {
                continue;
            };
            let column = &self.columns[slot];
            if varbind.value == Value::EndOfMibView || !varbind.oid.starts_with(column) {
                self.cursors[slot] = None;
                continue;
            }
            if varbind.oid <= *cursor {
                return Some(format!("OIDs do not increase after {cursor}"));
            }
            let index = varbind.oid.arcs()[column.len()..].to_vec();
            self.cursors[slot] = Some(varbind.oid);
            if !self.rows.contains_key(&index) && self.rows.len() >= self.rows_max {
                return Some(format!("more than {} rows", self.rows_max));
            }
            if convert::present(&varbind.value) {
                let row = self.rows.entry(index);
                let row = row.or_insert_with(|| vec![None; self.columns.len()]);
                row[slot] = Some(varbind.value);
            }
        }
        None
    }

    fn end(self, cut: Option<String>) -> Walked {
        let rows = self.rows.into_iter();
        Walked {
            rows: rows.map(|(index, values)| Row { index, values }).collect(),
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(text: &str) -> Oid {
        Oid::parse(text).unwrap()
    }

    fn bind(text: &str, value: i32) -> VarBind {
        VarBind::new(oid(text), Value::Integer(value))
    }

    #[test]
    fn answers_in_any_order_and_with_holes_are_put_right() {
        let asked = [oid("1.3.1"), oid("1.3.2"), oid("1.3.3")];
        let given = vec![
            bind("1.3.3", 3),
            VarBind::new(oid("1.3.2"), Value::NoSuchInstance),
            bind("1.3.1", 1),
        ];
        let values = in_order(&asked, given);
        assert_eq!(
            values,
            [Some(Value::Integer(1)), None, Some(Value::Integer(3))]
        );
    }

    #[test]
    fn a_walk_ends_per_column_and_puts_rows_together() {
        let columns = [oid("1.3.1.1"), oid("1.3.1.2")];
        let mut walk = Walk::new(&columns, 10);
        let (slots, cursors) = walk.next(10);
        assert_eq!((slots.len(), cursors[0].clone()), (2, columns[0].clone()));
        let cut = walk.take(
            &slots,
            vec![
                bind("1.3.1.1.1", 11),
                bind("1.3.1.2.1", 21),
                bind("1.3.1.1.2", 12),
                bind("1.3.1.3.1", 99),
            ],
        );
        assert_eq!(cut, None);
        let (slots, _) = walk.next(10);
        assert_eq!(slots, [0]);
        let end = VarBind::new(oid("1.3.1.1.2"), Value::EndOfMibView);
        assert_eq!(walk.take(&slots, vec![end]), None);
        assert!(walk.next(10).0.is_empty());
        let rows = walk.end(None).rows;
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0].values,
            [Some(Value::Integer(11)), Some(Value::Integer(21))]
        );
        assert_eq!(rows[1].values, [Some(Value::Integer(12)), None]);
    }

    #[test]
    fn a_walk_stops_at_loops_empty_answers_and_too_many_rows() {
        let columns = [oid("1.3.1.1")];
        let mut walk = Walk::new(&columns, 2);
        let same = vec![bind("1.3.1.1.5", 1), bind("1.3.1.1.5", 1)];
        assert!(walk.take(&[0], same).unwrap().contains("increase"));
        let mut walk = Walk::new(&columns, 2);
        assert!(walk.take(&[0], Vec::new()).unwrap().contains("empty"));
        let mut walk = Walk::new(&columns, 2);
        let many = (1..=3).map(|n| bind(&format!("1.3.1.1.{n}"), n)).collect();
        assert!(walk.take(&[0], many).unwrap().contains("2 rows"));
        assert_eq!(walk.end(None).rows.len(), 2);
    }

    #[test]
    fn narrow_requests_give_all_columns_their_turn() {
        let columns = [oid("1.3.1.1"), oid("1.3.1.2"), oid("1.3.1.3")];
        let mut walk = Walk::new(&columns, 2);
        assert_eq!(walk.next(2).0, [0, 1]);
        assert_eq!(walk.next(2).0, [2, 0]);
        walk.cursors[1] = None;
        assert_eq!(walk.next(2).0, [2, 0]);
    }
}
