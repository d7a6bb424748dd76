//! The life of tasks, and of runs with their held batches.

use super::{commit, end, insert, task, task_of};
use crate::{Batch, Op, OpenTask, Sent, Stand, Store, StoreError};
use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use std::future::Future;
use std::sync::Arc;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    from_waiting_to_ended(&*open().await).await;
    the_second_end_is_stale(&*open().await).await;
    what_is_not_open_is_left_alone(&*open().await).await;
    a_priority_that_moved_on_is_no_obstacle(&*open().await).await;
    an_id_is_used_once(&*open().await).await;
    held_batches_are_released_in_order(&*open().await).await;
    held_tasks_end_together(&*open().await).await;
}

async fn open_task(store: &dyn Store, id: u64) -> OpenTask {
    let found = store.task(TaskId(id)).await.expect("read a task");
    match found.map(|task| task.stand) {
        Some(Stand::Open(open)) => *open,
        other => panic!("wanted task {id} to be open, got {other:?}"),
    }
}

async fn status_of(store: &dyn Store, id: u64) -> Option<Status> {
    match store
        .task(TaskId(id))
        .await
        .expect("read a task")
        .expect("is kept")
        .stand
    {
        Stand::Open(_) => None,
        Stand::Ended { status, .. } => Some(status),
    }
}

pub(super) fn ids(tasks: &[OpenTask]) -> Vec<u64> {
    tasks.iter().map(|task| task.id.0).collect()
}

async fn from_waiting_to_ended(store: &dyn Store) {
    assert_eq!(
        store.task(TaskId(7)).await.expect("read"),
        None,
        "nothing yet"
    );
    insert(store, [task_of(7, 70, 700, 3, Priority::Batch)]).await;
    let fresh = OpenTask {
        id: TaskId(7),
        target: Uid(70),
        run: Some(RunId(700)),
        priority: Priority::Batch,
        batch: 3,
        attempt: 1,
        not_before: None,
        sent: None,
        checkpoint: None,
        history: String::new(),
        body: Bytes::from("body 7"),
    };
    assert_eq!(open_task(store, 7).await, fresh);
    let (id, priority) = (TaskId(7), Priority::Batch);

    let sent = Op::MarkSent {
        task: id,
        priority,
        fence: u64::MAX,
        attempt: 1,
        at: Time(5),
    };
    let value = Bytes::from_static(b"\0before");
    commit(
        store,
        vec![
            sent,
            Op::Checkpoint {
                task: id,
                priority,
                value: value.clone(),
            },
        ],
    )
    .await;
    let was_sent = open_task(store, 7).await;
    assert_eq!(
        was_sent.sent,
        Some(Sent {
            fence: u64::MAX,
            at: Time(5)
        })
    );
    assert_eq!(was_sent.checkpoint, Some(value.clone()));

    for (attempt, note) in [(2, "unreachable"), (3, "busy")] {
        let (not_before, note) = (Time(100), note.to_owned());
        commit(
            store,
            vec![Op::Retry {
                task: id,
                priority,
                attempt,
                not_before,
                note,
            }],
        )
        .await;
    }
    let again = open_task(store, 7).await;
    let wanted = OpenTask {
        attempt: 3,
        not_before: Some(Time(100)),
        checkpoint: Some(value),
        history: "unreachable\nbusy".into(),
        ..fresh
    };
    assert_eq!(
        again, wanted,
        "a retry clears sent, and keeps the checkpoint and every note"
    );
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (1, 0));
    assert_eq!(
        status.last_id, 700,
        "the greatest id of a task, run or record"
    );

    let done = commit(store, vec![end(7, priority, Status::Done)]).await;
    assert!(done.stale.is_empty());
    assert!(done.position > 0, "a result has a position");
    let ended = store.task(id).await.expect("read").expect("is kept");
    assert_eq!(
        (ended.target, ended.run, ended.batch),
        (Uid(70), Some(RunId(700)), 3)
    );
    assert_eq!(ended.body, "body 7");
    let stand = Stand::Ended {
        status: Status::Done,
        changed: true,
        at: Time(1_000),
        ending: Bytes::from("ending 7"),
    };
    assert_eq!(ended.stand, stand);
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (0, 1));
    let shown = store.run_tasks(RunId(700)).await.expect("run");
    assert_eq!(shown[0].attempt, 3, "how many attempts it took is kept");
}

async fn the_second_end_is_stale(store: &dyn Store) {
    insert(store, [task(1, 10), task(2, 10)]).await;
    commit(store, vec![end(1, Priority::People, Status::Done)]).await;
    let again = vec![
        end(1, Priority::People, Status::Failed),
        end(2, Priority::People, Status::Failed),
        end(2, Priority::People, Status::Done),
        end(99, Priority::People, Status::Done),
    ];
    let said = commit(store, again).await;
    assert_eq!(
        said.stale,
        [TaskId(1), TaskId(2), TaskId(99)],
        "in order of the operations"
    );
    assert_eq!(
        status_of(store, 1).await,
        Some(Status::Done),
        "the first end stands"
    );
    assert_eq!(status_of(store, 2).await, Some(Status::Failed));
    assert_eq!(store.results(0, 10).await.expect("results").len(), 2);
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (0, 2));
}

async fn what_is_not_open_is_left_alone(store: &dyn Store) {
    insert(store, [task(1, 10)]).await;
    commit(store, vec![end(1, Priority::People, Status::Unknown)]).await;
    let before = store.task(TaskId(1)).await.expect("read");
    for id in [TaskId(1), TaskId(99)] {
        let priority = Priority::People;
        let note = "late".to_owned();
        commit(
            store,
            vec![
                Op::MarkSent {
                    task: id,
                    priority,
                    fence: 1,
                    attempt: 2,
                    at: Time(9),
                },
                Op::Checkpoint {
                    task: id,
                    priority,
                    value: Bytes::from("late"),
                },
                Op::Retry {
                    task: id,
                    priority,
                    attempt: 3,
                    not_before: Time(0),
                    note,
                },
            ],
        )
        .await;
    }
    assert_eq!(store.task(TaskId(1)).await.expect("read"), before);
    assert_eq!(store.task(TaskId(99)).await.expect("read"), None);
}

async fn a_priority_that_moved_on_is_no_obstacle(store: &dyn Store) {
    insert(store, [task(1, 10), task(2, 10)]).await;
    let priority = Priority::Held;
    let sent = Op::MarkSent {
        task: TaskId(1),
        priority,
        fence: 4,
        attempt: 1,
        at: Time(5),
    };
    commit(store, vec![sent, end(2, Priority::Batch, Status::Done)]).await;
    assert!(
        open_task(store, 1).await.sent.is_some(),
        "found where it is"
    );
    assert_eq!(status_of(store, 2).await, Some(Status::Done));
}

async fn an_id_is_used_once(store: &dyn Store) {
    insert(store, [task(1, 10)]).await;
    commit(store, vec![end(1, Priority::People, Status::Done)]).await;
    let ops = vec![Op::InsertTask(task(2, 20)), Op::InsertTask(task(1, 20))];
    let said = store.commit(Batch { ops }).await;
    assert!(
        matches!(said, Err(StoreError::Broken { .. })),
        "a second task 1: {said:?}"
    );
    assert_eq!(
        store.task(TaskId(2)).await.expect("read"),
        None,
        "nothing of the batch is there"
    );
    assert_eq!(
        status_of(store, 1).await,
        Some(Status::Done),
        "the first is untouched"
    );
    insert(store, [task(2, 20)]).await;
}

async fn held_batches_are_released_in_order(store: &dyn Store) {
    let tasks = (1..=9).map(|n| {
        let batch = u32::try_from(n).expect("small").div_ceil(3);
        task_of(n, n * 10, 100, batch, Priority::Held)
    });
    insert(store, tasks).await;
    insert(store, [task_of(20, 10, 200, 1, Priority::Held)]).await;
    let open = |priority| async move {
        ids(&store
            .open_tasks(priority, 0, TaskId(0), 100)
            .await
            .expect("open tasks"))
    };
    assert_eq!(open(Priority::Held).await, [1, 2, 3, 4, 5, 6, 7, 8, 9, 20]);
    let release = |batch, to| Op::Release {
        run: RunId(100),
        batch,
        to,
    };
    let first = commit(store, vec![release(1, Priority::Batch)]).await;
    assert_eq!(first.moved, 3);
    assert_eq!(open(Priority::Batch).await, [1, 2, 3]);
    assert_eq!(open_task(store, 2).await.priority, Priority::Batch);
    commit(store, vec![end(1, Priority::Batch, Status::Done)]).await;
    let rest = commit(store, vec![release(2, Priority::People)]).await;
    assert_eq!(rest.moved, 3, "those of earlier batches have gone already");
    assert_eq!(open(Priority::People).await, [4, 5, 6]);
    assert_eq!(
        open(Priority::Batch).await,
        [2, 3],
        "what was released stays as it was"
    );
    assert_eq!(open(Priority::Held).await, [7, 8, 9, 20]);
    let again = commit(store, vec![release(2, Priority::People)]).await;
    assert_eq!(again.moved, 0);
    insert(store, [task_of(30, 300, 100, 1, Priority::Held)]).await;
    let all = commit(store, vec![release(7, Priority::People)]).await;
    assert_eq!(
        all.moved, 4,
        "every batch up to the one named, whenever it came"
    );
    assert_eq!(open(Priority::Held).await, [20], "other runs stay held");
}

async fn held_tasks_end_together(store: &dyn Store) {
    let held = (1..=5).map(|n| task_of(n, n * 10, 100, 2, Priority::Held));
    insert(store, held).await;
    insert(store, [task_of(6, 60, 100, 1, Priority::Batch)]).await;
    insert(store, [task_of(7, 70, 200, 1, Priority::Held)]).await;
    let (status, at, ending) = (Status::Cancelled, Time(50), Bytes::from("stop"));
    let op = Op::EndHeld {
        run: RunId(100),
        status,
        at,
        ending: ending.clone(),
    };
    let said = commit(store, vec![op.clone()]).await;
    assert_eq!(said.moved, 5);
    let results = store.results(0, 100).await.expect("results");
    assert_eq!(
        results.iter().map(|(_, t)| t.id.0).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        results.last().map(|(position, _)| *position),
        Some(said.position)
    );
    for (_, task) in results {
        let wanted = Stand::Ended {
            status,
            changed: false,
            at,
            ending: ending.clone(),
        };
        assert_eq!(task.stand, wanted);
    }
    assert_eq!(status_of(store, 6).await, None, "what was released goes on");
    assert_eq!(status_of(store, 7).await, None, "other runs go on");
    assert_eq!(commit(store, vec![op]).await.moved, 0);
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (2, 5));
}
