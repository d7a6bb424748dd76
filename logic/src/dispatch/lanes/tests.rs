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
        let (control, observe) = (lanes.add_queue(), lanes.add_queue());
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
    assert_eq!(b.lanes.due(Time(100)), [TaskId(1)]);
    b.lanes.lease_check(TaskId(1), Time(200));
    b.lanes.finish(TaskId(1), Time(150));
    assert!(b.lanes.due(Time(200)).is_empty());
    assert!(b.lanes.is_empty());
}
