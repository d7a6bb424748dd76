//! Which tasks a target has, in id order. A plain index would put each new task at its target's place, a page of the
//! log per task: more than all the rest of a task's life together. So the newest tasks are only in memory, and when
//! there are enough of them they are written as one sorted part. Parts hold ranges of ids that follow one another.
//!
//! What is in memory is never the truth: it is read again from the tasks themselves when the store is opened.

use parking_lot::RwLock;
use rusqlite::Connection;
use std::collections::HashSet;
use std::sync::Arc;

/// Tasks that make a part. Fewer: more parts to look into. More: a longer pause while one is written.
const PART_TASKS: usize = 8_192;

/// A run of rows in `lane`, for ids above the part before it and up to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub id: i64,
    pub last: i64,
}

/// A task and its target, not yet in any part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub target: i64,
    pub task: i64,
}

#[derive(Default)]
pub struct Lanes {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    parts: Arc<Vec<Part>>,
    tail: Vec<Place>,
}

/// The tasks of one target as they stood at one moment; the parts themselves are read from a later snapshot.
pub struct Lane {
    target: i64,
    parts: Arc<Vec<Part>>,
    /// In id order.
    tail: Vec<i64>,
}

impl Lanes {
    pub fn load(connection: &Connection) -> rusqlite::Result<Lanes> {
        let parts: Vec<Part> = connection
            .prepare("SELECT id, last FROM lane_part ORDER BY id")?
            .query_map((), |row| {
                Ok(Part {
                    id: row.get(0)?,
                    last: row.get(1)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let above = parts.last().map_or(-1, |part| part.last);
        let tail = connection
            .prepare("SELECT target, id FROM task WHERE id > ?1")?
            .query_map((above,), |row| {
                Ok(Place {
                    target: row.get(0)?,
                    task: row.get(1)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Lanes {
            state: RwLock::new(State {
                parts: Arc::new(parts),
                tail,
            }),
        })
    }

    /// The part that a task belongs to; None when it belongs to no part yet.
    pub fn part_of(&self, task: i64) -> Option<Part> {
        let state = self.state.read();
        let at = state.parts.partition_point(|part| part.last < task);
        state.parts.get(at).copied()
    }

    /// The part that holds the newest ids; never removed, since it says where memory begins.
    pub fn newest_part(&self) -> Option<Part> {
        self.state.read().parts.last().copied()
    }

    /// Tasks that are now committed.
    pub fn extend(&self, places: &[Place]) {
        if !places.is_empty() {
            self.state.write().tail.extend_from_slice(places);
        }
    }

    /// The next part and its rows in order, when there are enough of them.
    pub fn due(&self) -> Option<(Part, Vec<Place>)> {
        let state = self.state.read();
        if state.tail.len() < PART_TASKS {
            return None;
        }
        let mut rows = state.tail.clone();
        let last = rows.iter().map(|place| place.task).max()?;
        rows.sort_unstable();
        let id = state.parts.last().map_or(1, |part| part.id + 1);
        Some((Part { id, last }, rows))
    }

    /// The part and its rows are committed.
    pub fn written(&self, part: Part) {
        let mut state = self.state.write();
        Arc::make_mut(&mut state.parts).push(part);
        state.tail.clear();
        state.tail.shrink_to(2 * PART_TASKS);
    }

    /// Tasks and parts that retention has deleted.
    pub fn forget(&self, tasks: &HashSet<i64>, parts: &HashSet<i64>) {
        if tasks.is_empty() && parts.is_empty() {
            return;
        }
        let mut state = self.state.write();
        state.tail.retain(|place| !tasks.contains(&place.task));
        Arc::make_mut(&mut state.parts).retain(|part| !parts.contains(&part.id));
    }

    /// Nothing is there any more.
    pub fn clear(&self) {
        *self.state.write() = State::default();
    }

    /// Must be called before the snapshot from which the parts are then read: what moves from memory into a part in
    /// between is still known from here.
    pub fn lane(&self, target: i64) -> Lane {
        let state = self.state.read();
        let of_target = state.tail.iter().filter(|place| place.target == target);
        let mut tail: Vec<i64> = of_target.map(|place| place.task).collect();
        tail.sort_unstable();
        Lane {
            target,
            parts: state.parts.clone(),
            tail,
        }
    }
}

impl Lane {
    /// At least `wanted` ids above `after`, oldest first; fewer when there are no more. Some may be of tasks that are
    /// no longer kept.
    pub fn oldest(
        &self,
        snapshot: &Connection,
        after: i64,
        wanted: usize,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut select = snapshot.prepare_cached(
            "SELECT id FROM lane WHERE part = ?1 AND target = ?2 AND id > ?3 ORDER BY id",
        )?;
        let mut ids = Vec::new();
        let from = self.parts.partition_point(|part| part.last <= after);
        for part in &self.parts[from..] {
            if ids.len() >= wanted {
                return Ok(ids);
            }
            let rows = select.query_map((part.id, self.target, after), |row| row.get(0))?;
            for id in rows {
                ids.push(id?);
            }
        }
        ids.extend(self.tail.iter().filter(|id| **id > after));
        Ok(ids)
    }

    /// At least `wanted` ids below `before`, newest first; fewer when there are no more.
    pub fn newest(
        &self,
        snapshot: &Connection,
        before: i64,
        wanted: usize,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut select = snapshot.prepare_cached(
            "SELECT id FROM lane WHERE part = ?1 AND target = ?2 AND id < ?3 ORDER BY id DESC",
        )?;
        let mut ids: Vec<i64> = self
            .tail
            .iter()
            .rev()
            .filter(|id| **id < before)
            .copied()
            .collect();
        // The part in which `before` lies, and those below it.
        let until = self.parts.partition_point(|part| part.last < before);
        for part in self.parts[..self.parts.len().min(until + 1)].iter().rev() {
            if ids.len() >= wanted {
                break;
            }
            let rows = select.query_map((part.id, self.target, before), |row| row.get(0))?;
            for id in rows {
                ids.push(id?);
            }
        }
        Ok(ids)
    }
}
