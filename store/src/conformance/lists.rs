//! Every way to list tasks: by priority, lane, run, status, and in the order of ending.

use super::tasks::ids;
use super::{commit, end, insert, task, task_of};
use crate::{Expect, Op, RunTask, Store, TaskQuery};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    open_tasks_come_by_pages(&*open().await).await;
    lines_are_read_apart(&*open().await).await;
    lanes_are_apart_and_in_order(&*open().await).await;
    lists_meet_every_condition(&*open().await).await;
    a_run_shows_the_newest_task_per_target(&*open().await).await;
    results_come_in_the_order_of_ending(&*open().await).await;
    many_tasks_keep_their_lanes(&*open().await).await;
}

async fn open_tasks_come_by_pages(store: &dyn Store) {
    let people = (0..25).map(|n| task(1_000 - n * 3, n));
    insert(store, people).await;
    insert(
        store,
        (0..5).map(|n| task_of(990 + n * 3, n, 1, 1, Priority::Batch)),
    )
    .await;
    let mut seen = Vec::new();
    let mut after = TaskId(0);
    loop {
        let page = store
            .open_tasks(Priority::People, 0, after, 7)
            .await
            .expect("open tasks");
        assert!(page.len() <= 7, "a page keeps its limit");
        let Some(last) = page.last() else { break };
        after = last.id;
        seen.extend(ids(&page));
    }
    let wanted: Vec<u64> = (0..25).rev().map(|n| 1_000 - n * 3).collect();
    assert_eq!(
        seen, wanted,
        "each once, by id, whatever the order of arrival"
    );
    let past = store
        .open_tasks(Priority::People, 0, TaskId(u64::MAX), 7)
        .await
        .expect("open tasks");
    assert!(past.is_empty(), "nothing above the greatest id");
}

async fn lines_are_read_apart(store: &dyn Store) {
    let in_line = |id, line| crate::NewTask {
        line,
        ..task(id, id)
    };
    insert(store, [in_line(1, 7), in_line(2, 9), in_line(3, 7)]).await;
    insert(store, [task_of(4, 4, 1, 1, Priority::Held)]).await;
    let mut lines = store.lines().await.expect("lines");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            (Priority::Held, 0),
            (Priority::People, 7),
            (Priority::People, 9)
        ]
    );
    let page = store.open_tasks(Priority::People, 7, TaskId(0), 10);
    assert_eq!(ids(&page.await.expect("open tasks")), [1, 3]);
    commit(store, vec![end(2, Priority::People, Status::Done)]).await;
    assert!(
        !store
            .lines()
            .await
            .expect("lines")
            .contains(&(Priority::People, 9))
    );
}

async fn lanes_are_apart_and_in_order(store: &dyn Store) {
    insert(store, [task(5, 10), task(3, 10), task(4, 20), task(9, 10)]).await;
    insert(store, [task_of(6, 10, 1, 1, Priority::Batch)]).await;
    insert(store, [task_of(7, 10, 1, 2, Priority::Held)]).await;
    let lane = |after, limit| async move {
        ids(&store
            .lane_tasks(Uid(10), TaskId(after), limit)
            .await
            .expect("lane"))
    };
    assert_eq!(
        lane(0, 10).await,
        [3, 5, 6, 9],
        "all priorities but held, by id"
    );
    assert_eq!(lane(3, 2).await, [5, 6]);
    assert_eq!(lane(9, 10).await, [0_u64; 0]);
    commit(store, vec![end(5, Priority::People, Status::Done)]).await;
    assert_eq!(lane(0, 10).await, [3, 6, 9], "what has ended is gone");
    let release = Op::Release {
        run: RunId(1),
        batch: 2,
        to: Priority::Batch,
    };
    commit(store, vec![release]).await;
    assert_eq!(
        lane(0, 10).await,
        [3, 6, 7, 9],
        "a released task takes its place by id"
    );
    assert!(
        store
            .lane_tasks(Uid(99), TaskId(0), 10)
            .await
            .expect("lane")
            .is_empty()
    );
}

/// Tasks 1..=60: target by 3, run by 2, ended by 5 with the statuses in turn.
async fn mixed(store: &dyn Store) -> BTreeMap<u64, (u64, Option<u64>, Option<Status>)> {
    let mut wanted = BTreeMap::new();
    for id in 1..=60_u64 {
        let (target, run) = (100 + id % 3, (id % 2 == 0).then_some(200 + id % 4));
        let priority = if id % 7 == 0 {
            Priority::Batch
        } else {
            Priority::People
        };
        let mut new = task(id, target);
        (new.run, new.priority) = (run.map(RunId), priority);
        insert(store, [new]).await;
        let status = match id % 5 {
            0 => None,
            turn => Some(Status::ALL[usize::try_from(turn - 1).expect("small")]),
        };
        if let Some(status) = status {
            commit(store, vec![end(id, priority, status)]).await;
        }
        wanted.insert(id, (target, run, status));
    }
    wanted
}

async fn lists_meet_every_condition(store: &dyn Store) {
    let all = mixed(store).await;
    let statuses = [
        vec![],
        vec![Status::Done],
        vec![Status::Failed],
        vec![Status::Unknown, Status::Failed],
        vec![Status::Cancelled, Status::Done],
    ];
    for target in [None, Some(101), Some(999)] {
        for run in [None, Some(200), Some(202)] {
            for status in &statuses {
                for open in [false, true] {
                    let query = TaskQuery {
                        target: target.map(Uid),
                        run: run.map(RunId),
                        status: status.clone(),
                        open,
                        before: None,
                        limit: 4,
                    };
                    let matching = all.iter().rev().filter(|(_, (t, r, s))| {
                        target.is_none_or(|wanted| wanted == *t)
                            && run.is_none_or(|wanted| Some(wanted) == *r)
                            && (status.is_empty() || s.is_some_and(|s| status.contains(&s)))
                            && (!open || s.is_none())
                    });
                    let wanted: Vec<u64> = matching.map(|(id, _)| *id).collect();
                    assert_eq!(by_pages(store, query.clone()).await, wanted, "{query:?}");
                }
            }
        }
    }
}

/// All ids that a query gives, page after page.
async fn by_pages(store: &dyn Store, mut query: TaskQuery) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let page = store.tasks(query.clone()).await.expect("tasks");
        assert!(page.len() <= query.limit, "a page keeps its limit");
        let Some(last) = page.last() else { return seen };
        query.before = Some(last.id);
        seen.extend(page.iter().map(|task| task.id.0));
    }
}

async fn a_run_shows_the_newest_task_per_target(store: &dyn Store) {
    let run = RunId(100);
    insert(
        store,
        (1..=3).map(|n| task_of(n, n * 10, 100, 1, Priority::Batch)),
    )
    .await;
    insert(store, [task_of(4, 40, 100, 2, Priority::Held)]).await;
    insert(
        store,
        [task_of(5, 10, 200, 1, Priority::Batch), task(6, 10)],
    )
    .await;
    let sent = Op::MarkSent {
        task: TaskId(3),
        priority: Priority::Batch,
        fence: 1,
        attempt: 1,
        at: Time(1),
    };
    let ended = end(1, Priority::Batch, Status::Done);
    let failed = end(2, Priority::Batch, Status::Failed);
    commit(store, vec![ended, failed, sent]).await;
    // The failed target is tried again: a new task in the same run.
    insert(store, [task_of(8, 20, 100, 3, Priority::Batch)]).await;
    let base = RunTask {
        id: TaskId(1),
        target: Uid(10),
        batch: 1,
        attempt: 1,
        status: Some(Status::Done),
        changed: true,
        priority: None,
        sent: false,
    };
    let open = |id, target, batch, priority, sent| RunTask {
        id: TaskId(id),
        target: Uid(target),
        batch,
        status: None,
        changed: false,
        priority: Some(priority),
        sent,
        ..base.clone()
    };
    let wanted = [
        base.clone(),
        open(3, 30, 1, Priority::Batch, true),
        open(4, 40, 2, Priority::Held, false),
        open(8, 20, 3, Priority::Batch, false),
    ];
    let mut shown = store.run_tasks(run).await.expect("run");
    shown.sort_by_key(|task| task.id);
    assert_eq!(shown, wanted);
    assert!(store.run_tasks(RunId(999)).await.expect("run").is_empty());
}

async fn results_come_in_the_order_of_ending(store: &dyn Store) {
    insert(store, (1..=20).map(|n| task(n, n))).await;
    // Each once, in no order: 11 and 21 have no common divisor.
    let order = (1..=20).map(|n| (n * 11) % 21);
    let mut wanted = Vec::new();
    for id in order {
        let said = commit(store, vec![end(id, Priority::People, Status::Done)]).await;
        wanted.push((said.position, id));
    }
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = store.results(after, 6).await.expect("results");
        assert!(page.len() <= 6, "a page keeps its limit");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        seen.extend(page.iter().map(|(position, task)| (*position, task.id.0)));
    }
    assert_eq!(seen, wanted, "at the positions that commit told");
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "growing");
    // Other writes between do not disturb the cursor.
    let record = super::records::put("Target", "a", Expect::Anything, "x");
    commit(store, vec![record]).await;
    assert!(store.results(after, 6).await.expect("results").is_empty());
}

/// More tasks than any engine keeps in one piece of memory or one page, arriving partly out of order.
async fn many_tasks_keep_their_lanes(store: &dyn Store) {
    let (total, targets) = (20_000_u64, 7_u64);
    for piece in 0..total / 1_000 {
        // Pieces change places in pairs, and the ids within a piece come backwards.
        let ids = ((piece ^ 1) * 1_000 + 1..=(piece ^ 1) * 1_000 + 1_000).rev();
        insert(store, ids.map(|id| task(id, 1 + id % targets))).await;
    }
    let done = (1..=total).filter(|id| id % 3 == 0);
    let ops: Vec<Op> = done
        .map(|id| end(id, Priority::People, Status::Done))
        .collect();
    commit(store, ops).await;
    for target in [1, 4] {
        let of_target = || (1..=total).filter(move |id| 1 + id % targets == target);
        let mut seen = Vec::new();
        let mut after = TaskId(0);
        loop {
            let page = store
                .lane_tasks(Uid(target), after, 500)
                .await
                .expect("lane");
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(ids(&page));
        }
        assert_eq!(
            seen,
            of_target().filter(|id| id % 3 != 0).collect::<Vec<_>>(),
            "open ones"
        );
        let query = TaskQuery {
            target: Some(Uid(target)),
            limit: 700,
            ..TaskQuery::default()
        };
        let newest = by_pages(store, query).await;
        assert_eq!(
            newest,
            of_target().rev().collect::<Vec<_>>(),
            "all, newest first"
        );
    }
}
