//! The one thread that writes. It takes everything that waits, applies it in one transaction, flushes once and answers
//! all. It never waits for more work to come: grouping is what gathers while the disk is busy.

use crate::apply::{Applier, Refused};
use crate::error::{from_engine, from_shared, is_outage};
use crate::lanes::Lanes;
use crate::moving;
use crate::retain;
use rusqlite::Connection;
use sengu_store::moving::Row;
use sengu_store::{Batch, Committed, Retention, StoreError};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Batches that may wait for the writer; more wait in `commit`.
pub const BATCHES_WAITING_MAX: usize = 1_024;
/// Operations of one transaction, beyond its first batch: bounds how long a caller waits for others.
const OPS_PER_TRANSACTION_MAX: usize = 4_096;

pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub enum Message {
    Commit(Batch, Reply<Committed>),
    /// One step; answers how many rows went, and 0 when nothing is left to do.
    Retain(Retention, Reply<u64>),
    /// Rows of another store.
    Import(Vec<Row>, Reply<()>),
    /// These rows in the place of everything.
    Clear(Vec<Row>, Reply<()>),
    /// Answered when everything is in the database file.
    Close(Reply<()>),
}

type Waiting = (Batch, Reply<Committed>);

/// Runs until it is told to close or every sender is gone, and everything accepted is answered.
pub fn run(connection: Connection, lanes: Arc<Lanes>, mut queue: mpsc::Receiver<Message>) {
    let closing = serve(&connection, lanes, &mut queue);
    // The last connection to go writes the log back into the database.
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the store was not closed cleanly; nothing is lost");
    }
    if let Some(reply) = closing {
        let _ = reply.send(Ok(()));
    }
}

/// Gives the caller of `close`, if that was the reason to end.
fn serve(
    connection: &Connection,
    lanes: Arc<Lanes>,
    queue: &mut mpsc::Receiver<Message>,
) -> Option<Reply<()>> {
    let mut writer = match Applier::new(connection, lanes.clone()) {
        Ok(applier) => Writer {
            connection,
            applier,
            lanes,
        },
        Err(error) => {
            // `open` has tried this; callers learn from the closed queue.
            tracing::error!(%error, "the store's writer did not start");
            return None;
        }
    };
    let mut closing = None;
    let mut group: Vec<Waiting> = Vec::new();
    let mut next = queue.blocking_recv();
    while let Some(message) = next.take() {
        match message {
            Message::Commit(batch, reply) => {
                let mut ops = batch.ops.len();
                group.push((batch, reply));
                while ops < OPS_PER_TRANSACTION_MAX {
                    match queue.try_recv() {
                        Ok(Message::Commit(batch, reply)) => {
                            ops += batch.ops.len();
                            group.push((batch, reply));
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                writer.commit(&mut group);
                writer.write_part_when_due();
            }
            Message::Retain(retention, reply) => {
                // A caller that went away wants no answer.
                let _ = reply.send(writer.retain(&retention));
            }
            Message::Import(rows, reply) => {
                let _ = reply.send(writer.import(&rows));
                writer.write_part_when_due();
            }
            Message::Clear(rows, reply) => {
                let _ = reply.send(writer.clear(&rows));
            }
            Message::Close(reply) => {
                // What was accepted before is still done; what comes later is refused.
                queue.close();
                closing = Some(reply);
            }
        }
        if next.is_none() {
            next = queue.blocking_recv();
        }
    }
    closing
}

struct Writer<'c> {
    connection: &'c Connection,
    applier: Applier<'c>,
    lanes: Arc<Lanes>,
}

impl Writer<'_> {
    /// Applies and flushes the group, and answers everyone. Leaves it empty.
    fn commit(&mut self, group: &mut Vec<Waiting>) {
        match self.transaction(group) {
            Ok(answers) => {
                for ((_, reply), answer) in group.drain(..).zip(answers) {
                    let _ = reply.send(answer);
                }
            }
            Err(error) if group.len() > 1 && !is_outage(&error) => {
                // One batch broke a rule of the tables: alone, each gets its own answer.
                for waiting in std::mem::take(group) {
                    self.commit(&mut vec![waiting]);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for (_, reply) in group.drain(..) {
                    let _ = reply.send(Err(from_shared("write to the store", &error)));
                }
            }
        }
    }

    fn transaction(
        &mut self,
        group: &[Waiting],
    ) -> rusqlite::Result<Vec<Result<Committed, StoreError>>> {
        self.within(|applier| {
            let mut answers = Vec::with_capacity(group.len());
            for (batch, _) in group {
                answers.push(match applier.apply(batch) {
                    Ok(committed) => Ok(committed),
                    Err(Refused::Clean(error)) => Err(error),
                    Err(Refused::Torn(error)) => return Err(error),
                });
            }
            Ok(answers)
        })
    }

    fn retain(&mut self, retention: &Retention) -> Result<u64, StoreError> {
        let (connection, lanes) = (self.connection, self.lanes.clone());
        let step = self
            .within(|applier| retain::step(connection, &mut applier.head, &lanes, retention))
            .map_err(|e| from_engine("delete what is no longer kept", e))?;
        self.lanes.forget(&step.tasks, &step.parts);
        Ok(step.rows)
    }

    fn import(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let connection = self.connection;
        self.within(|applier| moving::import(connection, applier, rows))
            .map_err(|e| from_engine("import rows", e))
    }

    fn clear(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let connection = self.connection;
        self.within(|applier| {
            moving::clear(connection, applier)?;
            moving::import(connection, applier, rows)
        })
        .map_err(|e| from_engine("delete everything", e))?;
        self.lanes.clear();
        Ok(())
    }

    /// Moves the newest tasks from memory into a part of `lane`. When that fails, they stay in memory, and the next
    /// commit tries again.
    fn write_part_when_due(&mut self) {
        let Some((part, rows)) = self.lanes.due() else {
            return;
        };
        match self.within(|applier| applier.write_part(part, &rows)) {
            Ok(()) => self.lanes.written(part),
            Err(error) => tracing::warn!(%error, tasks = rows.len(), "lanes stay in memory"),
        }
    }

    /// Runs `work` in one transaction: all of it is durable when this returns Ok, none of it when Err.
    fn within<T>(
        &mut self,
        work: impl FnOnce(&mut Applier<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let head = self.applier.head;
        let outcome = self.try_within(work);
        if outcome.is_err() {
            self.applier.head = head;
            self.applier.streams.clear();
            self.applier.places.clear();
            if !self.connection.is_autocommit() {
                // On a full disk SQLite may have rolled back by itself; otherwise this cannot need space.
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        }
        outcome
    }

    fn try_within<T>(
        &mut self,
        work: impl FnOnce(&mut Applier<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let before = self.applier.head;
        self.applier.statements.begin.execute(())?;
        let done = work(&mut self.applier)?;
        if self.applier.head != before {
            let head = self.applier.head;
            head.save(&mut self.applier.statements.save_head)?;
        }
        self.applier.statements.commit.execute(())?;
        // Readers may know a task only once it is committed, and must before its caller is answered.
        self.lanes.extend(&self.applier.places);
        self.applier.places.clear();
        Ok(done)
    }
}
