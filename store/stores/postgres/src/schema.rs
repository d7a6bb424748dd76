//! The versions of the tables, and the way from each to the next and back. A way is gone in one transaction under a
//! lock, so that two processes that open at once do it once, and a crash leaves the version before.
//!
//! What is allowed while another version runs: a step may only add, so that programs of the version before go on
//! working beside it (`works_from` says which ones do). A process that opens goes forward by itself; it never goes back.
//! Going back is asked for by `migrate`, when no process of the newer version is left.

use crate::error::Trouble;
use crate::session::{Place, Role, Session};
use crate::settings::Settings;
use sengu_store::StoreError;

/// The version that this program makes and uses.
pub const VERSION: u32 = 2;
/// The first server that has all that is used.
pub const SERVER_MIN: u32 = 130_000;

struct Step {
    up: &'static str,
    down: &'static str,
    /// The oldest version whose programs still work on tables of this one.
    works_from: u32,
}

/// The step to version 1 is the first.
const STEPS: [Step; VERSION as usize] = [
    Step {
        up: include_str!("schema/1.up.sql"),
        down: include_str!("schema/1.down.sql"),
        works_from: 1,
    },
    Step {
        up: include_str!("schema/2.up.sql"),
        down: include_str!("schema/2.down.sql"),
        works_from: 1,
    },
];

/// What the schema is now; version 0 when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub version: u32,
    pub works_from: u32,
}

impl Found {
    const NOTHING: Found = Found {
        version: 0,
        works_from: 0,
    };

    /// Whether this program may use these tables, perhaps after going forward.
    pub fn is_known(&self) -> bool {
        self.version <= VERSION || self.works_from <= VERSION
    }
}

/// Brings the schema of `settings` to version `to`, forward or back; 0 removes all that sengu keeps there.
///
/// # Errors
/// `Broken` when the schema is newer than this program, `Unavailable` when the database is not reached.
pub async fn migrate(settings: &Settings, to: u32) -> Result<(), StoreError> {
    let done = async {
        let place = Place::new(settings)?;
        let session = place.connect(Role::Plain).await?;
        go(&place, &session, Some(to)).await
    };
    done.await.map_err(|e| e.for_caller("change the tables"))
}

/// Goes forward when the tables are older than this program; leaves newer ones that this program may use.
pub async fn prepare(place: &Place, session: &Session) -> Result<(), Trouble> {
    let found = look(place, session).await?;
    if found.version == VERSION {
        return Ok(());
    }
    go(place, session, None).await
}

/// Reads the version without changing anything.
pub async fn look(place: &Place, session: &Session) -> Result<Found, Trouble> {
    let there = session
        .client
        .query(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = 'sengu_schema'",
            &[&place.schema_plain],
        )
        .await?;
    if there.is_empty() {
        return Ok(Found::NOTHING);
    }
    let rows = session
        .client
        .query("SELECT version, works_from FROM sengu_schema", &[])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Found::NOTHING);
    };
    let number = |n: i32| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Found {
        version: number(row.try_get(0)?),
        works_from: number(row.try_get(1)?),
    })
}

async fn go(place: &Place, session: &Session, to: Option<u32>) -> Result<(), Trouble> {
    session.batch("BEGIN").await?;
    let outcome = within(place, session, to).await;
    let end = if outcome.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    };
    let ended = session.batch(end).await;
    outcome.and(ended)
}

async fn within(place: &Place, session: &Session, to: Option<u32>) -> Result<(), Trouble> {
    // Everybody who changes tables of this name waits here for the one before.
    session
        .client
        .execute(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
            &[&format!("sengu schema {}", place.schema_plain)],
        )
        .await?;
    let found = look(place, session).await?;
    if !found.is_known() {
        return Err(Trouble::Odd(format!(
            "schema {} has version {}, this program knows up to {VERSION}: use a newer sengu",
            place.schema_plain, found.version
        )));
    }
    let to = to.unwrap_or(VERSION.max(found.version));
    if found.version > VERSION && to != found.version {
        return Err(Trouble::Odd(format!(
            "schema {} has version {}: only a sengu that knows it can change it",
            place.schema_plain, found.version
        )));
    }
    if to > VERSION && found.version <= VERSION {
        return Err(Trouble::Odd(format!(
            "there is no version {to} of the tables"
        )));
    }
    if found.version == 0 && to > 0 {
        encoding_is_utf8(session).await?;
        session
            .batch(&format!(
                "CREATE SCHEMA IF NOT EXISTS {}; \
                 CREATE TABLE IF NOT EXISTS sengu_schema(version integer NOT NULL, works_from integer NOT NULL)",
                place.schema
            ))
            .await?;
    }
    let mut version = found.version;
    while version != to {
        let sql = if version < to {
            version += 1;
            STEPS[version as usize - 1].up
        } else {
            version -= 1;
            STEPS[version as usize].down
        };
        session.batch(sql).await?;
    }
    match version {
        _ if version == found.version => Ok(()),
        0 => session.batch("DROP TABLE sengu_schema").await,
        _ => {
            let works_from = STEPS[version as usize - 1].works_from;
            session
                .batch(&format!(
                    "DELETE FROM sengu_schema; INSERT INTO sengu_schema VALUES ({version}, {works_from})"
                ))
                .await
        }
    }
}

/// In other encodings some names could not be kept.
async fn encoding_is_utf8(session: &Session) -> Result<(), Trouble> {
    let rows = session.client.query("SHOW server_encoding", &[]).await?;
    let encoding: String = match rows.first() {
        Some(row) => row.try_get(0)?,
        None => String::new(),
    };
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Trouble::Odd(format!(
        "the database has encoding {encoding}, not UTF8: create another with ENCODING 'UTF8'"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_leaves_the_version_before_at_work() {
        for (number, step) in (1..).zip(&STEPS) {
            assert!(
                step.works_from <= std::cmp::max(1, number - 1),
                "step to {number}"
            );
            assert!(
                !step.down.trim().is_empty(),
                "step to {number} has a way back"
            );
        }
    }

    #[test]
    fn newer_tables_are_used_only_when_they_say_so() {
        let found = |version, works_from| Found {
            version,
            works_from,
        };
        assert!(found(VERSION, 1).is_known());
        assert!(found(VERSION + 1, VERSION).is_known());
        assert!(!found(VERSION + 2, VERSION + 1).is_known());
    }
}
