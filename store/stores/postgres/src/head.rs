//! The counters of the store: one row, locked by whoever commits, so that no count ever walks a table, no number is
//! given twice, and numbers become visible in the order in which they were given.

use crate::error::Trouble;
use crate::numbers::ordered;
use crate::session::{Params, Session};
use tokio_postgres::Row;

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

pub const SELECT: &str =
    "SELECT revision, change_oldest, position, last_id, records, tasks_open, tasks_ended FROM head";
pub const LOCK: &str = "SELECT revision, change_oldest, position, last_id, records, tasks_open, tasks_ended \
     FROM head WHERE id = 0 FOR UPDATE";
pub const UPDATE: &str = "UPDATE head SET revision = $1, change_oldest = $2, position = $3, last_id = $4, \
     records = $5, tasks_open = $6, tasks_ended = $7 WHERE id = 0";

impl Head {
    pub fn of(row: &Row) -> Result<Head, Trouble> {
        Ok(Head {
            revision: row.try_get(0)?,
            change_oldest: row.try_get(1)?,
            position: row.try_get(2)?,
            last_id: row.try_get(3)?,
            records: row.try_get(4)?,
            tasks_open: row.try_get(5)?,
            tasks_ended: row.try_get(6)?,
        })
    }

    /// Takes the lock within the session's transaction.
    pub async fn lock(session: &Session) -> Result<Head, Trouble> {
        let rows = session.rows(LOCK, &[]).await?;
        let row = rows.first();
        row.map_or_else(
            || Err(Trouble::Odd("the row of counters is gone".into())),
            Head::of,
        )
    }

    pub async fn save(&self, session: &Session) -> Result<(), Trouble> {
        let params: Params<'_> = &[
            &self.revision,
            &self.change_oldest,
            &self.position,
            &self.last_id,
            &self.records,
            &self.tasks_open,
            &self.tasks_ended,
        ];
        session.execute(UPDATE, params).await.map(drop)
    }

    pub fn saw(&mut self, id: u64) {
        self.last_id = self.last_id.max(ordered(id));
    }
}
