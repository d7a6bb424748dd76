//! All rows of a part, and what was touched since.

use super::{MoveError, Mover};
use crate::moving::{Key, Part, ROWS_PER_PAGE, Row};
use crate::switch::settled;
use crate::{Position, Revision};
use bytes::Bytes;
use sengu_model::Time;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Rows of the first page, before it is known how large they are.
const ROWS_FIRST: usize = 100;
/// A page holds about this many bytes; two are in memory.
const PAGE_BYTES: usize = 4 << 20;
/// After each page the stores are left to others for this part of the time that it took, at most for `REST_MAX`.
const REST_PART: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(50);
/// Keys read and written at a time when they are copied again.
const KEYS_PER_PAGE: usize = 500;

impl Mover<'_> {
    /// Copies a part from its start; the next page is read while one is written. A page that is not full is the last:
    /// what has come since is caught up with, else a part that grows would be followed for ever.
    pub(super) async fn copy(&self, part: Part) -> Result<(), MoveError> {
        let mut limit = ROWS_FIRST;
        let read = self.source.export(part, None, limit).await;
        let mut page = read.map_err(MoveError::Source)?;
        while let Some(last) = page.last().cloned() {
            self.may_go_on()?;
            let begun = Instant::now();
            let full = page.len() == limit;
            limit = next_limit(&page);
            let ends: Vec<_> = page.iter().filter_map(end_of).collect();
            let rows: Vec<Row> = page.into_iter().filter(|row| self.is_kept(row)).collect();
            let count = rows.len() as u64;
            let write = self.target().import(rows);
            let read = async {
                if full {
                    self.source.export(part, Some(last), limit).await
                } else {
                    Ok(Vec::new())
                }
            };
            let (written, read) = tokio::join!(write, read);
            written.map_err(|e| self.at_target(e))?;
            page = read.map_err(MoveError::Source)?;
            self.came_to(ends);
            self.part(part, |p| p.copied += count);
            tokio::time::sleep((begun.elapsed() / REST_PART).min(REST_MAX)).await;
        }
        Ok(())
    }

    /// Meta of the place stays where it is.
    pub(super) fn is_kept(&self, row: &Row) -> bool {
        !matches!(row, Row::Meta { key, .. } if self.apart.contains(key))
    }

    fn came_to(&self, ends: Vec<End>) {
        let mut all = self.ends.lock();
        for end in ends {
            match end {
                End::Change(revision) => all.revision = all.revision.max(revision),
                End::Entry(stream, position) => {
                    let last = all.positions.entry(stream).or_default();
                    *last = position.max(*last);
                }
            }
        }
    }

    /// Copies what was touched since the last time, and compares it if asked to. Gives how many rows that was.
    pub(super) async fn round(&self, compare: bool) -> Result<u64, MoveError> {
        let taken = self.watch.take();
        settled(&*self.source).await.map_err(MoveError::Source)?;
        let mut keys: HashSet<Key> = taken.touched.keys.clone();
        for (run, batch) in &taken.touched.runs {
            // Those which the target still believes to be held are all that can have been let go.
            let held = self.target().held(*run, *batch).await;
            let held = held.map_err(|e| self.at_target(e))?;
            keys.extend(held.into_iter().map(Key::Task));
        }
        keys.retain(|key| !matches!(key, Key::Meta(key) if self.apart.contains(key)));
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut rows = 0;
        for page in keys.chunks(KEYS_PER_PAGE) {
            self.may_go_on()?;
            rows += self.copy_keys(page.to_vec(), compare).await?;
        }
        rows += self.copy_changes(compare).await?;
        for stream in &taken.touched.streams {
            rows += self.copy_entries(stream, compare).await?;
        }
        taken.copied();
        self.progress.send_modify(|p| p.caught_up += rows);
        Ok(rows)
    }

    async fn copy_keys(&self, keys: Vec<Key>, compare: bool) -> Result<u64, MoveError> {
        let found = self.source.rows(keys.clone()).await;
        let mut rows = found.map_err(MoveError::Source)?;
        let wanted: HashMap<Key, Row> = rows
            .iter()
            .filter_map(|row| Some((row.key()?, row.clone())))
            .collect();
        for key in &keys {
            if let Key::Record(kind, name) = key
                && !wanted.contains_key(key)
            {
                let (kind, name) = (kind.clone(), name.clone());
                rows.push(Row::NoRecord { kind, name });
            }
        }
        let count = rows.len() as u64;
        let written = self.target().import(rows).await;
        written.map_err(|e| self.at_target(e))?;
        if compare {
            let there = self.target().rows(keys).await;
            let there = there.map_err(|e| self.at_target(e))?;
            let there: HashMap<Key, Row> = there
                .into_iter()
                .filter_map(|row| Some((row.key()?, row)))
                .collect();
            if let Some(key) = different(&wanted, &there) {
                return Err(MoveError::Differs {
                    part: "what was touched",
                    row: format!("{key:?}"),
                });
            }
        }
        Ok(count)
    }

    async fn copy_changes(&self, compare: bool) -> Result<u64, MoveError> {
        let revision = self.ends.lock().revision;
        self.copy_grown(Part::Changes, change_at(revision), compare, |_| true)
            .await
    }

    async fn copy_entries(&self, stream: &str, compare: bool) -> Result<u64, MoveError> {
        let position = self.ends.lock().positions.get(stream).copied();
        let after = entry_at(stream, position.unwrap_or(0));
        let of_it = |row: &Row| matches!(row, Row::Entry { stream: found, .. } if found == stream);
        self.copy_grown(Part::Entries, after, compare, of_it).await
    }

    /// What came after `after`, while it `belongs`.
    async fn copy_grown(
        &self,
        part: Part,
        mut after: Row,
        compare: bool,
        belongs: impl Fn(&Row) -> bool,
    ) -> Result<u64, MoveError> {
        let mut count = 0;
        loop {
            let read = self.source.export(part, Some(after.clone()), KEYS_PER_PAGE);
            let mut page = read.await.map_err(MoveError::Source)?;
            let whole = page.len() == KEYS_PER_PAGE;
            let of_it = page.iter().take_while(|row| belongs(row)).count();
            let more = whole && of_it == page.len();
            page.truncate(of_it);
            let Some(last) = page.last().cloned() else {
                return Ok(count);
            };
            count += page.len() as u64;
            let ends: Vec<_> = page.iter().filter_map(end_of).collect();
            let written = self.target().import(page.clone()).await;
            written.map_err(|e| self.at_target(e))?;
            if compare {
                let there = self.target().export(part, Some(after), page.len()).await;
                let there = there.map_err(|e| self.at_target(e))?;
                if there != page {
                    let row = page.iter().zip(&there).find(|(one, other)| one != other);
                    return Err(MoveError::Differs {
                        part: part.as_str(),
                        row: row.map_or_else(|| "a row".to_owned(), |(row, _)| named(row)),
                    });
                }
            }
            self.came_to(ends);
            if !more {
                return Ok(count);
            }
            self.may_go_on()?;
            after = last;
        }
    }
}

enum End {
    Change(Revision),
    Entry(String, Position),
}

fn end_of(row: &Row) -> Option<End> {
    match row {
        Row::Change { revision, .. } => Some(End::Change(*revision)),
        Row::Entry {
            stream, position, ..
        } => Some(End::Entry(stream.clone(), *position)),
        _ => None,
    }
}

/// Stands for the row that pages go on after.
fn change_at(revision: Revision) -> Row {
    Row::Change {
        revision,
        kind: String::new(),
        name: String::new(),
        deleted: false,
    }
}

fn entry_at(stream: &str, position: Position) -> Row {
    Row::Entry {
        stream: stream.to_owned(),
        position,
        key: 0,
        at: Time(0),
        body: Bytes::new(),
    }
}

fn different(one: &HashMap<Key, Row>, other: &HashMap<Key, Row>) -> Option<Key> {
    let missing = other.keys().find(|key| !one.contains_key(*key));
    let unequal = one.iter().find(|(key, row)| other.get(*key) != Some(*row));
    missing.or(unequal.map(|(key, _)| key)).cloned()
}

/// The name of a row, without what is in it.
pub(super) fn named(row: &Row) -> String {
    match row {
        Row::Meta { key, .. } => format!("{key:?}"),
        Row::Record(record) => format!("{}/{}", record.kind, record.name),
        Row::NoRecord { kind, name } => format!("{kind}/{name}"),
        Row::Change { revision, .. } => format!("revision {revision}"),
        Row::Task(task) => format!("task {}", task.id),
        Row::Entry {
            stream, position, ..
        } => format!("{stream} {position}"),
        Row::Counters(_) => "the row".to_owned(),
    }
}

fn next_limit(page: &[Row]) -> usize {
    let bytes: usize = page.iter().map(|row| row.bytes() + 64).sum();
    let each = bytes / page.len().max(1);
    (PAGE_BYTES / each.max(1)).clamp(1, ROWS_PER_PAGE)
}
