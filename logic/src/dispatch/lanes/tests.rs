//! The rules of the lanes, each as a short story.

use super::*;

const LIMITS: LaneLimits = LaneLimits {
    sessions: 2,
    rate_per_s: 0.0,
    cooldown_ms: 1000,
};

struct Bench {
    lanes: Lanes<()>,
    control: QueueIndex,
    observe: QueueIndex,
}

impl Bench {
    fn new(window: u32) -> Bench {
        let mut lanes = Lanes::default();
        let (control, observe) = (lanes.add_queue(None), lanes.add_queue(None));
        lanes.set_window(control, window);
        lanes.set_window(observe, window);
        Bench {
            lanes,
            control,
            observe,
        }
    }

    fn put(&mut self, id: u64, target: u64, class: Class, priority: Priority) -> Inserted {
        let queue = if class == Class::Control {
            self.control
        } else {
            self.observe
        };
        let task = Task {
            id: TaskId(id),
            target: Uid(target),
            queue,
            line: 0,
            class,
            priority,
            attempt: 1,
            not_before: Time(0),
            stage: Stage::Waiting,
            payload: (),
        };
        self.lanes.insert(task, &LIMITS, Time(0), false)
    }

    fn take(&mut self, now: i64) -> Vec<u64> {
        std::iter::from_fn(|| self.lanes.next(Time(now)).map(|t| t.0)).collect()
    }
}

#[test]
fn changes_of_a_target_run_one_at_a_time_in_order() {
    let mut b = Bench::new(100);
    for id in [3, 1, 2] {
        b.put(id, 7, Class::Control, Priority::People);
    }
    b.put(4, 8, Class::Control, Priority::People);
    let mut got = b.take(0);
    got.sort_unstable();
    assert_eq!(got, [1, 4]);
    assert_eq!(
        b.lanes.blocked(TaskId(2), Time(0)),
        Blocked::Holder(TaskId(1))
    );
    b.lanes.settling(TaskId(1));
    assert!(
        b.take(0).is_empty(),
        "the lane is held until the outcome is durable"
    );
    b.lanes.finish(TaskId(1), Time(0));
    assert_eq!(b.take(0), [2]);
}

#[test]
fn reads_and_changes_share_the_sessions() {
    let mut b = Bench::new(100);
    b.put(1, 7, Class::Control, Priority::People);
    b.put(2, 7, Class::Observe, Priority::People);
    b.put(3, 7, Class::Observe, Priority::People);
    assert_eq!(b.take(0).len(), 2, "two sessions");
    assert_eq!(b.lanes.blocked(TaskId(3), Time(0)), Blocked::Sessions(2));
    b.lanes.finish(TaskId(1), Time(0));
    assert_eq!(b.take(0), [3]);
}

#[test]
fn a_retry_stays_first_and_waits_its_time() {
    let mut b = Bench::new(100);
    b.put(1, 7, Class::Control, Priority::People);
    b.put(2, 7, Class::Control, Priority::People);
    assert_eq!(b.take(0), [1]);
    b.lanes.again(TaskId(1), 2, Time(500), Time(0));
    assert!(b.take(0).is_empty(), "the second must not overtake");
    assert_eq!(b.lanes.next_timer(), Some(Time(500)));
    b.lanes.due(Time(500));
    assert_eq!(b.take(500), [1]);
    assert_eq!(b.lanes.get(TaskId(1)).map(|t| t.attempt), Some(2));
}

#[test]
fn people_find_room_in_a_full_window() {
    let mut b = Bench::new(10);
    for id in 0..20 {
        b.put(id, 100 + id, Class::Control, Priority::Batch);
    }
    assert_eq!(b.take(0).len(), 9, "a tenth is kept");
    b.put(50, 500, Class::Control, Priority::People);
    assert_eq!(b.take(0), [50]);
    assert_eq!(b.lanes.window(b.control), (10, 10));
    assert_eq!(
        b.lanes.blocked(TaskId(19), Time(0)),
        Blocked::Window {
            in_flight: 10,
            window: 10
        }
    );
}

#[test]
fn busy_targets_rest_and_others_go_on() {
    let mut b = Bench::new(10);
    b.put(1, 7, Class::Control, Priority::People);
    assert_eq!(b.take(0), [1]);
    b.lanes.cool(Uid(7), Time(2000));
    b.put(2, 7, Class::Observe, Priority::People);
    b.put(3, 8, Class::Control, Priority::People);
    assert_eq!(b.take(0), [3]);
    assert_eq!(
        b.lanes.blocked(TaskId(2), Time(0)),
        Blocked::Until(Time(2000))
    );
    b.lanes.due(Time(2000));
    assert_eq!(b.take(2000), [2]);
}

#[test]
fn a_long_lane_leaves_its_rest_in_the_store() {
    let mut b = Bench::new(100);
    let max = limits::LANE_WINDOW_MAX as u64;
    for id in 0..max {
        assert_eq!(
            b.put(id, 7, Class::Control, Priority::Batch),
            Inserted::Queued
        );
    }
    assert_eq!(
        b.put(max, 7, Class::Control, Priority::Batch),
        Inserted::LaneFull
    );
    assert_eq!(
        b.put(max + 1, 7, Class::Control, Priority::Batch),
        Inserted::LaneFull
    );
    let mut ran = 0;
    while b.lanes.take_refills().is_empty() {
        let id = b.lanes.next(Time(0)).expect("the head may go");
        b.lanes.finish(id, Time(0));
        ran += 1;
    }
    assert_eq!(ran, max - max / 4, "asked again when a quarter is left");
}

#[test]
fn sweeps_of_one_target_coalesce() {
    let mut b = Bench::new(100);
    assert_eq!(
        b.put(1, 7, Class::Observe, Priority::Sweep),
        Inserted::Queued
    );
    assert_eq!(
        b.put(2, 7, Class::Observe, Priority::Sweep),
        Inserted::Coalesced
    );
    b.take(0);
    b.lanes.finish(TaskId(1), Time(0));
    assert_eq!(
        b.put(3, 7, Class::Observe, Priority::Sweep),
        Inserted::Queued
    );
}

#[test]
fn a_lease_is_looked_at_only_while_the_task_is_out() {
    let mut b = Bench::new(100);
    b.put(1, 7, Class::Control, Priority::People);
    b.take(0);
    b.lanes.sent(TaskId(1), Time(0), Time(100));
    assert_eq!(b.lanes.due(Time(100)).leases, [TaskId(1)]);
    b.lanes.lease_check(TaskId(1), Time(200));
    b.lanes.finish(TaskId(1), Time(150));
    assert_eq!(b.lanes.due(Time(200)), Due::default());
    assert!(b.lanes.is_empty());
}

/// Fills the lane of target 7 with `ids` and takes the first out.
fn long_lane(ids: impl Iterator<Item = u64>) -> Bench {
    let mut b = Bench::new(100);
    for id in ids {
        b.put(id, 7, Class::Control, Priority::Batch);
    }
    b
}

#[test]
fn a_task_that_came_late_into_a_full_lane_is_read_with_the_rest() {
    let max = limits::LANE_WINDOW_MAX as u64;
    let mut b = long_lane((10..10 + max).map(|n| n * 2));
    // Committed before the last one, and heard of after it.
    let late = (10 + max) * 2 - 3;
    assert_eq!(
        b.put(late, 7, Class::Control, Priority::Batch),
        Inserted::LaneFull
    );
    let refills = loop {
        let refills = b.lanes.take_refills();
        if !refills.is_empty() {
            break refills;
        }
        let id = b.lanes.next(Time(0)).expect("the head may go");
        b.lanes.finish(id, Time(0));
    };
    assert!(refills[0].1 < TaskId(late), "{refills:?}");
}

#[test]
fn what_came_while_the_rest_was_read_is_read_again() {
    let max = limits::LANE_WINDOW_MAX as u64;
    let mut b = long_lane(1..=max + 1);
    while b.lanes.take_refills().is_empty() {
        let id = b.lanes.next(Time(0)).expect("the head may go");
        b.lanes.finish(id, Time(0));
    }
    // The page was read before this one was stored, so it reached the end without it.
    assert_eq!(
        b.put(99, 7, Class::Control, Priority::Batch),
        Inserted::LaneFull
    );
    b.lanes.refilled(Uid(7), true);
    let refills = b.lanes.take_refills();
    assert!(
        refills.first().is_some_and(|r| r.1 < TaskId(99)),
        "{refills:?}"
    );
}

#[test]
fn an_idle_lane_whose_rest_could_not_be_read_asks_again() {
    let max = limits::LANE_WINDOW_MAX as u64;
    let mut b = long_lane(1..=max + 1);
    let mut asked = false;
    while let Some(id) = b.lanes.next(Time(0)) {
        b.lanes.finish(id, Time(0));
        asked |= !b.lanes.take_refills().is_empty();
    }
    assert!(asked && b.lanes.is_empty());
    b.lanes.refilled(Uid(7), false);
    assert_eq!(b.lanes.take_refills().len(), 1);
}

#[test]
fn windows_are_counted_where_the_task_is() {
    let mut b = Bench::new(10);
    b.put(1, 7, Class::Control, Priority::People);
    b.put(2, 7, Class::Control, Priority::People);
    // The target was moved to another zone: its tasks go elsewhere.
    let elsewhere = b.lanes.add_queue(None);
    b.lanes.set_window(elsewhere, 10);
    b.lanes.set_window(b.control, 0);
    b.lanes.set_queue(TaskId(2), elsewhere, Time(0));
    b.lanes.finish(TaskId(1), Time(0));
    assert_eq!(
        b.take(0),
        [2],
        "not stuck in the list of a queue without a window"
    );
    assert_eq!(b.lanes.window(elsewhere), (1, 10));
    assert_eq!(b.lanes.window(b.control), (0, 0));
    b.lanes.finish(TaskId(2), Time(0));
    assert_eq!(b.lanes.window(elsewhere), (0, 10));
}

#[test]
fn a_listed_lane_whose_tasks_moved_takes_nothing_from_the_old_window() {
    let mut b = Bench::new(10);
    b.put(1, 7, Class::Control, Priority::People);
    let elsewhere = b.lanes.add_queue(None);
    b.lanes.set_window(elsewhere, 10);
    b.lanes.set_queue(TaskId(1), elsewhere, Time(0));
    assert_eq!(b.take(0), [1]);
    assert_eq!(b.lanes.window(b.control), (0, 10));
    b.lanes.finish(TaskId(1), Time(0));
    assert_eq!(b.lanes.window(elsewhere), (0, 10));
}

#[test]
fn a_read_that_waits_for_its_retry_lets_others_pass() {
    let mut b = Bench::new(100);
    b.put(1, 7, Class::Observe, Priority::People);
    assert_eq!(b.take(0), [1]);
    b.lanes.again(TaskId(1), 2, Time(30_000), Time(0));
    b.put(2, 7, Class::Observe, Priority::People);
    assert_eq!(b.take(0), [2]);
    b.lanes.finish(TaskId(2), Time(0));
    b.lanes.due(Time(30_000));
    assert_eq!(b.take(30_000), [1]);
}

#[test]
fn a_deadline_counts_for_a_task_that_is_blocked() {
    let mut b = Bench::new(0);
    b.put(1, 7, Class::Control, Priority::People);
    b.lanes.deadline(TaskId(1), Time(100));
    assert_eq!(b.lanes.due(Time(99)), Due::default());
    assert_eq!(b.lanes.due(Time(100)).late, [TaskId(1)]);
}

#[test]
fn rests_leases_and_retries_bear_a_clock_that_is_set() {
    const HOUR: i64 = 3_600_000;
    let start = 10 * HOUR;
    for step in [HOUR, -HOUR] {
        let mut b = Bench::new(100);
        b.put(1, 7, Class::Control, Priority::People);
        assert_eq!(b.take(start), [1]);
        b.lanes.sent(TaskId(1), Time(start), Time(start + 100));
        b.put(2, 8, Class::Control, Priority::People);
        assert_eq!(b.take(start), [2]);
        b.lanes.again(TaskId(2), 2, Time(start + 500), Time(start));
        b.lanes.clock_was_set(step);
        let now = start + step;
        assert_eq!(b.lanes.due(Time(now + 99)), Due::default(), "step {step}");
        assert_eq!(b.lanes.due(Time(now + 100)).leases, [TaskId(1)]);
        b.lanes.due(Time(now + 500));
        assert_eq!(b.take(now + 500), [2]);
    }
}

#[test]
fn limits_count_at_once_for_those_who_wait() {
    let mut b = Bench::new(100);
    for id in 1..=4 {
        b.put(id, 7, Class::Observe, Priority::People);
    }
    let narrow = LaneLimits {
        sessions: 1,
        ..LIMITS
    };
    b.lanes.set_limits(Uid(7), &narrow, Time(0));
    assert_eq!(b.take(0), [1]);
    b.lanes.set_limits(Uid(7), &LIMITS, Time(0));
    assert_eq!(b.take(0), [2]);
}

#[test]
fn reads_and_changes_share_the_slots_of_the_workers() {
    let mut b = Bench::new(0);
    b.observe = b.lanes.add_queue(Some(b.control));
    b.lanes.set_window(b.control, 8);
    for n in 0..20 {
        b.put(n, 100 + n, Class::Observe, Priority::Sweep);
    }
    assert_eq!(b.take(0).len(), 6, "a quarter is kept from sweeps");
    for n in 20..30 {
        b.put(n, 100 + n, Class::Control, Priority::People);
    }
    assert_eq!(
        b.take(0).len(),
        2,
        "more would wait with the broker while their leases run"
    );
    b.lanes.finish(TaskId(0), Time(0));
    assert_eq!(b.take(0).len(), 1);
    assert_eq!(b.lanes.window(b.control), (3, 8));
    assert_eq!(b.lanes.window(b.observe), (5, 8));
}
