//! The counters of the store: one row, written once per transaction, so that no count ever walks a table and no
//! number is ever given twice.

use rusqlite::{Connection, Statement};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Newest revision of any record.
    pub revision: i64,
    /// Oldest revision whose change is kept.
    pub change_oldest: i64,
    /// Last position given in any stream.
    pub position: i64,
    /// Greatest id of a task, run or record ever seen.
    pub last_id: i64,
    pub records: i64,
    pub tasks_open: i64,
    pub tasks_ended: i64,
}

const SELECT: &str =
    "SELECT revision, change_oldest, position, last_id, records, tasks_open, tasks_ended FROM head";
pub const UPDATE: &str = "UPDATE head SET revision = ?1, change_oldest = ?2, position = ?3, last_id = ?4, \
     records = ?5, tasks_open = ?6, tasks_ended = ?7 WHERE id = 0";

impl Head {
    pub fn load(connection: &Connection) -> rusqlite::Result<Head> {
        connection.prepare_cached(SELECT)?.query_row((), |row| {
            Ok(Head {
                revision: row.get(0)?,
                change_oldest: row.get(1)?,
                position: row.get(2)?,
                last_id: row.get(3)?,
                records: row.get(4)?,
                tasks_open: row.get(5)?,
                tasks_ended: row.get(6)?,
            })
        })
    }

    pub fn save(&self, update: &mut Statement<'_>) -> rusqlite::Result<()> {
        update.execute((
            self.revision,
            self.change_oldest,
            self.position,
            self.last_id,
            self.records,
            self.tasks_open,
            self.tasks_ended,
        ))?;
        Ok(())
    }

    pub fn saw(&mut self, id: u64) {
        self.last_id = self.last_id.max(crate::schema::ordered(id));
    }
}
