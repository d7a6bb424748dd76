//! The moment in which commits are held.

use super::{MoveError, Mover};
use crate::mark::{self, MOVE, State};
use crate::moving::{Part, Row};
use crate::switch::Current;
use crate::{Op, StoreError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Rounds while commits are held: the second finds nothing.
const ROUNDS_MAX: u32 = 3;
/// What the mark in the source may take: no longer begun when less is left.
const MARK_MAX: Duration = Duration::from_millis(300);
/// An image that is being pushed is waited for this long, and new ones wait meanwhile.
const IMAGES_MAX: Duration = Duration::from_secs(60);
/// A mark that must be there is written this often, with `MARK_REST` between.
const MARKS_MAX: u32 = 600;
const MARK_REST: Duration = Duration::from_secs(1);

impl Mover<'_> {
    /// Changes over; gives why not when that was undone and may be tried again.
    pub(super) async fn change_over(&self) -> Result<Option<String>, MoveError> {
        // No image is being written from here on; those that came last are copied before commits are held.
        let images = match &self.plan.blobs {
            Some(blobs) => {
                let gate = timeout(IMAGES_MAX, blobs.gate.clone().write_owned()).await;
                Some(gate.map_err(|_| MoveError::ImagesPushed)?)
            }
            None => None,
        };
        self.copy_images().await?;
        let asked = Instant::now();
        let until = asked + self.plan.pause_max;
        let held = timeout_at(until, self.plan.switch.gate.write()).await;
        let Ok(held) = held else {
            self.paused(asked);
            return Ok(Some("commits under way took too long".to_owned()));
        };
        let decided = match timeout_at(until, self.finish()).await {
            Ok(Ok(())) if Instant::now() + MARK_MAX <= until => self.decide().await,
            Ok(Ok(())) | Err(_) => Err(Undone::Late),
            Ok(Err(error)) => Err(Undone::Failed(error)),
        };
        match decided {
            Ok(()) => {
                self.plan.takeover.changed_over();
                let target = &self.plan.target;
                self.plan.switch.replace(Current {
                    store: self.plan.takeover.wrap(target.store.clone()),
                    rows: Some(target.store.clone()),
                });
                if let (Some(blobs), Some(new)) = (&self.plan.blobs, &target.blobs) {
                    blobs.replace(new.clone());
                }
                drop(held);
                drop(images);
                self.paused(asked);
                self.confirm().await;
                Ok(None)
            }
            Err(undone) => {
                drop(held);
                drop(images);
                self.paused(asked);
                // Best effort: a copy that nobody has put to use is refused everywhere.
                let copying = self.plan.mark(State::Copying, &self.plan.from).put();
                let _ = self.target().commit(vec![copying].into()).await;
                match undone {
                    Undone::Late => Ok(Some(format!(
                        "it would have taken longer than {} ms",
                        self.plan.pause_max.as_millis()
                    ))),
                    Undone::Failed(error) => Err(error),
                }
            }
        }
    }

    fn paused(&self, since: Instant) {
        let pause = since.elapsed();
        self.progress.send_modify(|p| p.pause = Some(pause));
    }

    /// Copies and compares all that is left; then the target is whole.
    async fn finish(&self) -> Result<(), MoveError> {
        let mut rows = 1;
        for _ in 0..ROUNDS_MAX {
            rows = self.round(true).await?;
            if rows == 0 {
                break;
            }
        }
        if rows > 0 {
            // Something writes beside the gate.
            return Err(MoveError::Differs {
                part: "what was touched",
                row: "a row".to_owned(),
            });
        }
        let counters = self.source.export(Part::Counters, None, 1).await;
        let counters = counters.map_err(MoveError::Source)?;
        let mut last = counters.clone();
        let metas = self.plan.takeover.metas().into_iter();
        last.extend(metas.map(|(key, value)| Row::Meta { key, value }));
        last.push(Row::Meta {
            key: MOVE.to_owned(),
            value: self.plan.mark(State::Copied, &self.plan.from).bytes(),
        });
        let written = self.target().import(last).await;
        written.map_err(|e| self.at_target(e))?;
        let there = self.target().export(Part::Counters, None, 1).await;
        if there.map_err(|e| self.at_target(e))? != counters {
            return Err(MoveError::Differs {
                part: Part::Counters.as_str(),
                row: "the row".to_owned(),
            });
        }
        self.part(Part::Counters, |p| p.copied = 1);
        Ok(())
    }

    /// Marks the source. Not cut off by any limit: whether it was done must be known.
    async fn decide(&self) -> Result<(), Undone> {
        let gone = self.plan.mark(State::Gone, &self.plan.target.place);
        let mut ops: Vec<Op> = self.plan.takeover.fence();
        ops.push(gone.put());
        let failed = |error| Err(Undone::Failed(MoveError::Source(error)));
        match self.source.commit(ops.into()).await {
            Ok(_) => Ok(()),
            // Nothing of it was applied.
            Err(error @ (StoreError::Fenced { .. } | StoreError::Unavailable(_))) => failed(error),
            Err(error) => match mark::read(&*self.source).await {
                Ok((_, Some(found))) if found == gone => Ok(()),
                Ok(_) => failed(error),
                Err(_) => {
                    // It may be there. The source stays in use, so it must not be.
                    self.insist(&*self.source, State::Here, &self.plan.target.place)
                        .await;
                    failed(error)
                }
            },
        }
    }

    /// The target is in use: whoever stands by at it may know.
    async fn confirm(&self) {
        self.insist(self.target(), State::Here, &self.plan.from)
            .await;
    }

    async fn insist(&self, store: &dyn crate::moving::Move, state: State, place: &str) {
        for times in 0..MARKS_MAX {
            let mark = self.plan.mark(state, place).put();
            match store.commit(vec![mark].into()).await {
                Ok(_) => return,
                Err(StoreError::Closed) => return,
                Err(error) if times == 0 => tracing::warn!(%error, "mark of the move not written"),
                Err(_) => {}
            }
            tokio::time::sleep(MARK_REST).await;
        }
    }
}

enum Undone {
    Late,
    Failed(MoveError),
}
