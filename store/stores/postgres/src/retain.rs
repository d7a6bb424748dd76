//! Deletes what retention no longer keeps, a little per transaction, so that a commit waits for one step at most.

use crate::error::Trouble;
use crate::head::Head;
use crate::numbers::ordered;
use crate::session::{Params, Session};
use sengu_store::{Retention, TASK_LOG};

/// Tasks deleted per transaction, each with its result and its log.
const TASKS_PER_STEP: i64 = 500;
/// Changes or entries deleted per transaction.
const ROWS_PER_STEP: i64 = 1_000;

/// In the order in which they ended, up to the first that is kept.
const ENDED: &str = "SELECT position, task, at FROM result ORDER BY position LIMIT $1";
const RESULTS_GONE: &str = "DELETE FROM result WHERE position <= $1";
const TASKS_GONE: &str = "DELETE FROM task WHERE id = ANY($1::bigint[])";
const LOGS_GONE: &str = "DELETE FROM entry WHERE key = ANY($1::bigint[]) AND key <> 0 \
     AND stream = (SELECT id FROM stream WHERE name = $2)";
const CHANGES_GONE: &str = "DELETE FROM change WHERE revision < $1";
const STREAMS: &str = "SELECT id, name FROM stream ORDER BY id";
const ENTRIES: &str = "SELECT position, at FROM entry WHERE stream = $1 ORDER BY position LIMIT $2";
const ENTRIES_GONE: &str = "DELETE FROM entry WHERE stream = $1 AND position <= $2";

/// All of the above, to be prepared when a writer connects.
pub const STATEMENTS: [&str; 8] = [
    ENDED,
    RESULTS_GONE,
    TASKS_GONE,
    LOGS_GONE,
    CHANGES_GONE,
    STREAMS,
    ENTRIES,
    ENTRIES_GONE,
];

/// Does one step of whatever is left to do, under the lock. Gives how many rows went, 0 when nothing is left.
pub async fn step(
    session: &Session,
    head: &mut Head,
    retention: &Retention,
) -> Result<u64, Trouble> {
    let rows = tasks(session, head, retention).await?;
    if rows > 0 {
        return Ok(rows);
    }
    match changes(session, head, retention).await? {
        0 => entries(session, retention).await,
        rows => Ok(rows),
    }
}

async fn tasks(session: &Session, head: &mut Head, retention: &Retention) -> Result<u64, Trouble> {
    let mut last = None;
    let mut ids: Vec<i64> = Vec::new();
    for row in session.rows(ENDED, &[&TASKS_PER_STEP]).await? {
        if row.try_get::<_, i64>(2)? >= retention.tasks_before.0 {
            break;
        }
        last = Some(row.try_get::<_, i64>(0)?);
        ids.push(row.try_get(1)?);
    }
    let Some(last) = last else { return Ok(0) };
    let before: Params<'_> = &[&last];
    let named: Params<'_> = &[&ids];
    let logged: Params<'_> = &[&ids, &TASK_LOG];
    let (results, tasks, logs) = tokio::join!(
        biased;
        session.execute(RESULTS_GONE, before),
        session.execute(TASKS_GONE, named),
        session.execute(LOGS_GONE, logged),
    );
    head.tasks_ended -= ordered(ids.len() as u64);
    Ok(results? + tasks? + logs?)
}

async fn changes(
    session: &Session,
    head: &mut Head,
    retention: &Retention,
) -> Result<u64, Trouble> {
    let kept_from = head
        .revision
        .saturating_sub(ordered(retention.changes_kept))
        + 1;
    let until = kept_from.min(head.change_oldest + ROWS_PER_STEP);
    if until <= head.change_oldest {
        return Ok(0);
    }
    head.change_oldest = until;
    session.execute(CHANGES_GONE, &[&until]).await
}

/// In each stream the oldest entries go, up to the first that is kept.
async fn entries(session: &Session, retention: &Retention) -> Result<u64, Trouble> {
    for row in session.rows(STREAMS, &[]).await? {
        let stream: i32 = row.try_get(0)?;
        let before = retention.before(row.try_get(1)?).0;
        let mut last = None;
        for row in session.rows(ENTRIES, &[&stream, &ROWS_PER_STEP]).await? {
            if row.try_get::<_, i64>(1)? >= before {
                break;
            }
            last = Some(row.try_get::<_, i64>(0)?);
        }
        if let Some(last) = last {
            return session.execute(ENTRIES_GONE, &[&stream, &last]).await;
        }
    }
    Ok(0)
}
