//! Compares both stores row by row, in order, while work goes on.

use super::copy::named;
use super::{Ends, MoveError, Mover};
use crate::StoreError;
use crate::moving::{Digest, Move, Part, Row};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::collections::VecDeque;

/// Rows of a page.
const ROWS: usize = 500;
/// Rows between two looks at whether to go on.
const LOOK_EVERY: u64 = 1_000;

impl Mover<'_> {
    pub(super) async fn verify(&self) -> Result<(), MoveError> {
        for part in Part::ALL {
            // Counters are compared while commits are held.
            if part != Part::Counters {
                self.compare(part).await?;
            }
        }
        Ok(())
    }

    /// Every row of either store is the same in the other, or was touched since it was copied.
    async fn compare(&self, part: Part) -> Result<(), MoveError> {
        let ends = self.ends.lock().clone();
        let mut source = Cursor::new(&*self.source, part);
        let mut target = Cursor::new(self.target(), part);
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        let (mut rows, mut again, mut looked) = (0_u64, 0_u64, 0_u64);
        loop {
            looked += 1;
            if looked % LOOK_EVERY == 0 {
                self.may_go_on()?;
                self.part(part, |p| p.again = again);
                tokio::task::yield_now().await;
            }
            let left = source.peek().await.map_err(MoveError::Source)?;
            if left.is_some_and(|row| !self.is_kept(row) || is_new(row, &ends)) {
                source.next();
                continue;
            }
            let right = target.peek().await.map_err(|e| self.at_target(e))?;
            if right.is_some_and(|row| !self.is_kept(row)) {
                target.next();
                continue;
            }
            let order = match (left, right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => order(left, right),
            };
            match (order, left, right) {
                (Ordering::Equal, Some(left), Some(right)) if left == right => {
                    left.hash_into(&mut one);
                    right.hash_into(&mut other);
                    rows += 1;
                }
                (_, Some(row), _) if order != Ordering::Greater => {
                    self.touched(part, row)?;
                    again += 1;
                }
                (_, _, Some(row)) => {
                    self.touched(part, row)?;
                    again += 1;
                }
                _ => {}
            }
            if order != Ordering::Greater {
                source.next();
            }
            if order != Ordering::Less {
                target.next();
            }
        }
        let (one, other) = (hex(one), hex(other));
        if one != other {
            return Err(MoveError::Differs {
                part: part.as_str(),
                row: "the digest".to_owned(),
            });
        }
        self.part(part, |p| {
            p.again = again;
            p.compared = Some(Digest { rows, sha256: one });
        });
        Ok(())
    }

    fn touched(&self, part: Part, row: &Row) -> Result<(), MoveError> {
        // Noted before it is applied and until it is copied: what is not noted has no right to differ.
        if self.watch.covers(row) {
            return Ok(());
        }
        Err(MoveError::Differs {
            part: part.as_str(),
            row: named(row),
        })
    }
}

/// It has come since, and is copied later.
fn is_new(row: &Row, ends: &Ends) -> bool {
    match row {
        Row::Change { revision, .. } => *revision > ends.revision,
        Row::Entry {
            stream, position, ..
        } => ends.positions.get(stream).is_none_or(|end| position > end),
        _ => false,
    }
}

/// The order of exports.
fn order(one: &Row, other: &Row) -> Ordering {
    match (one, other) {
        (Row::Meta { key: one, .. }, Row::Meta { key: other, .. }) => one.cmp(other),
        (Row::Record(one), Row::Record(other)) => {
            (&one.kind, &one.name).cmp(&(&other.kind, &other.name))
        }
        (
            Row::Change { revision: one, .. },
            Row::Change {
                revision: other, ..
            },
        ) => one.cmp(other),
        (Row::Task(one), Row::Task(other)) => one.id.0.cmp(&other.id.0),
        (
            Row::Entry {
                stream, position, ..
            },
            Row::Entry {
                stream: other,
                position: at,
                ..
            },
        ) => (stream, position).cmp(&(other, at)),
        _ => Ordering::Equal,
    }
}

fn hex(hash: Sha256) -> String {
    let sha256 = hash.finalize();
    sha256.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rows of a part one by one.
struct Cursor<'s> {
    store: &'s dyn Move,
    part: Part,
    page: VecDeque<Row>,
    last: Option<Row>,
    ended: bool,
}

impl<'s> Cursor<'s> {
    fn new(store: &'s dyn Move, part: Part) -> Cursor<'s> {
        Cursor {
            store,
            part,
            page: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    async fn peek(&mut self) -> Result<Option<&Row>, StoreError> {
        if self.page.is_empty() && !self.ended {
            let read = self.store.export(self.part, self.last.take(), ROWS);
            self.page = read.await?.into();
            self.last = self.page.back().cloned();
            // What comes after a page that is not full has come since.
            self.ended = self.page.len() < ROWS;
        }
        Ok(self.page.front())
    }

    fn next(&mut self) {
        self.page.pop_front();
    }
}
