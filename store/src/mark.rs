//! Where a store stands in a move: written into the store itself, so that no program takes up work on one that has
//! moved, or on half a copy.
//!
//! A move is decided by one commit alone: the source's mark `Gone`. Until then the source is the truth, whatever the
//! target holds; from then on the target is.

use crate::{Op, Store, StoreError};
use bytes::Bytes;
use sengu_model::Time;
use serde::{Deserialize, Serialize};

/// Meta key of the mark.
pub const MOVE: &str = "move";
/// Meta key of who holds the seat in a store that several processes share: of the place, not of what is kept in it.
pub const LEADER: &str = "leader";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub state: State,
    /// Names the move in both stores.
    pub id: String,
    /// The other place, for people.
    pub place: String,
    pub at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Target: `place` is being copied into it.
    Copying,
    /// Target: it holds all of `place`; whether the source agrees is not known here.
    Copied,
    /// It is in use. In a source: a move from it was given up.
    Here,
    /// Source: everything is in `place` now.
    Gone,
}

impl Mark {
    pub fn bytes(&self) -> Bytes {
        // Text and numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub fn put(&self) -> Op {
        Op::PutMeta {
            key: MOVE.to_owned(),
            value: self.bytes(),
        }
    }
}

/// The mark as it stands, with its bytes.
///
/// # Errors
/// The store's; `Broken` for a mark that this program does not understand.
pub async fn read(store: &dyn Store) -> Result<(Option<Bytes>, Option<Mark>), StoreError> {
    let raw = store.meta(MOVE).await?;
    let mark = raw.as_deref().map(serde_json::from_slice).transpose();
    match mark {
        Ok(mark) => Ok((raw, mark)),
        Err(error) => Err(StoreError::Broken {
            what: "its mark of a move is not understood: use a newer sengu".to_owned(),
            source: Some(Box::new(error)),
        }),
    }
}

/// Refuses a store that must not be used. `shared`: others may take it up by themselves, so that a copy must have been
/// confirmed first.
///
/// # Errors
/// `Moved` or `Unfinished`, or the store's.
pub async fn usable(store: &dyn Store, shared: bool) -> Result<(), StoreError> {
    let Some(mark) = read(store).await?.1 else {
        return Ok(());
    };
    match mark.state {
        State::Here => Ok(()),
        State::Copied if !shared => Ok(()),
        State::Gone => Err(StoreError::Moved {
            to: mark.place,
            at: mark.at,
        }),
        State::Copying | State::Copied => Err(StoreError::Unfinished { from: mark.place }),
    }
}

/// Puts a whole copy to use whose source has the mark `gone`: what the mover would have done next. Gives whether it is
/// that copy.
///
/// # Errors
/// The store's.
pub async fn confirm(store: &dyn Store, gone: &Mark) -> Result<bool, StoreError> {
    let (raw, found) = read(store).await?;
    let Some(found) = found.filter(|m| m.id == gone.id && gone.state == State::Gone) else {
        return Ok(false);
    };
    match found.state {
        State::Here => Ok(true),
        State::Copied => {
            let expect = Op::ExpectMeta {
                key: MOVE.to_owned(),
                value: raw,
            };
            let here = Mark {
                state: State::Here,
                ..found
            };
            store.commit(vec![expect, here.put()].into()).await?;
            Ok(true)
        }
        State::Copying | State::Gone => Ok(false),
    }
}
