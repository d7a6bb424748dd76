//! Lanes: which waiting task may go next. Pure: time is passed in, nothing is awaited.
//!
//! Each target has one lane. Changing tasks of a target run one at a time and in order; reads run beside them; all
//! together stay within the target's session limit, its rate, and its rest after `busy`. Each queue (zone, kind, class) has
//! a window; the last part of it is kept for people. It must never look at the whole backlog to pick one task.

mod adopt;
mod altered;
mod lane;
mod leave;
mod look;
mod rest;

use lane::Lane;
use sengu_model::manifest::LaneLimits;
use sengu_model::task::Priority;
use sengu_model::{Class, TaskId, Time, Uid, limits};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Index of a queue in this structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueIndex(pub u32);

/// A task in memory. `P` is what the shell needs to send it; lanes never look into it.
#[derive(Debug)]
pub struct Task<P> {
    pub id: TaskId,
    pub target: Uid,
    pub queue: QueueIndex,
    /// The line of the store in which it waits.
    pub line: u16,
    pub class: Class,
    pub priority: Priority,
    pub attempt: u32,
    pub not_before: Time,
    pub stage: Stage,
    pub payload: P,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    /// Picked; being marked in the store or published.
    Sending,
    Sent {
        at: Time,
    },
    Started {
        at: Time,
    },
    /// The outcome is known and being made durable; the lane is still held.
    Settling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    Queued,
    /// The lane holds as many as it may in memory: leave the task in the store.
    LaneFull,
    /// A sweep of this target is already on its way.
    Coalesced,
    /// It is here already.
    Known,
    /// Its run is paused: leave the task in the store.
    Paused,
}

/// Why a lane (or its head) does not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Its turn in the window: `in_flight` of `window` are out.
    Window { in_flight: u32, window: u32 },
    /// Another changing task of the target is in hand.
    Holder(TaskId),
    /// As many tasks are in hand as the target bears.
    Sessions(u16),
    /// The target asked for rest, or the retry waits.
    Until(Time),
    /// Earlier changing tasks of the same target come first.
    Behind(TaskId),
    /// Not blocked: it is out, or goes out at once.
    No,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Index of its window, which the queues of both classes share: they share the slots of the workers.
    window: usize,
    in_flight: u32,
    /// Lanes with a task that may go, by priority of their head: people, batch, sweep.
    ready: [VecDeque<(Uid, Class)>; 3],
    /// It is among those that are looked at.
    looked_at: bool,
}

#[derive(Debug, Default)]
struct Window {
    size: u32,
    in_flight: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Lane(Uid),
    Lease(TaskId),
    /// Not worth beginning after this.
    Deadline(TaskId),
}

/// Tasks whose time has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Out, and their lease must be looked at.
    pub leases: Vec<TaskId>,
    /// Waiting, and their deadline has passed.
    pub late: Vec<TaskId>,
}

#[derive(Debug)]
pub struct Lanes<P> {
    tasks: HashMap<TaskId, Task<P>>,
    lanes: HashMap<Uid, Lane>,
    queues: Vec<QueueState>,
    /// Queues with something ready: a thousand others cost those nothing.
    stirring: Vec<usize>,
    windows: Vec<Window>,
    timers: BinaryHeap<Reverse<(Time, Timer)>>,
    turn: usize,
    refills: Vec<Uid>,
    waiting: HashMap<(Priority, u16), usize>,
}

impl<P> Default for Lanes<P> {
    fn default() -> Self {
        Lanes {
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            queues: Vec::new(),
            stirring: Vec::new(),
            windows: Vec::new(),
            timers: BinaryHeap::new(),
            turn: 0,
            refills: Vec::new(),
            waiting: HashMap::new(),
        }
    }
}

fn slot(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Observe => 1,
    }
}

fn list(priority: Priority) -> usize {
    match priority {
        Priority::Held | Priority::People => 0,
        Priority::Batch => 1,
        Priority::Sweep => 2,
    }
}

/// How much of a window each priority may fill: a tenth is kept for people, a quarter from sweeps.
pub fn share(window: u32, priority: Priority) -> u32 {
    match priority {
        Priority::Held | Priority::People => window,
        Priority::Batch => (window - window / 10).clamp(1.min(window), window),
        Priority::Sweep => (window - window / 4).clamp(1.min(window), window),
    }
}

impl<P> Lanes<P> {
    /// A queue with a window of its own, or with that of another.
    pub fn add_queue(&mut self, shared_with: Option<QueueIndex>) -> QueueIndex {
        let window = match shared_with {
            Some(queue) => self.queues[queue.0 as usize].window,
            None => {
                self.windows.push(Window::default());
                self.windows.len() - 1
            }
        };
        self.queues.push(QueueState {
            window,
            ..QueueState::default()
        });
        QueueIndex(self.queues.len() as u32 - 1)
    }

    pub fn set_window(&mut self, queue: QueueIndex, window: u32) {
        let at = self.queues[queue.0 as usize].window;
        self.windows[at].size = window;
    }

    /// `(in flight, window)`; the window may be shared.
    pub fn window(&self, queue: QueueIndex) -> (u32, u32) {
        let q = &self.queues[queue.0 as usize];
        (q.in_flight, self.windows[q.window].size)
    }

    fn counted_out(&mut self, queue: usize) {
        let queue = &mut self.queues[queue];
        queue.in_flight += 1;
        self.windows[queue.window].in_flight += 1;
    }

    fn counted_in(&mut self, queue: usize) {
        let queue = &mut self.queues[queue];
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let window = &mut self.windows[queue.window];
        window.in_flight = window.in_flight.saturating_sub(1);
    }

    pub fn get(&self, id: TaskId) -> Option<&Task<P>> {
        self.tasks.get(&id)
    }

    pub fn get_mut(&mut self, id: TaskId) -> Option<&mut Task<P>> {
        self.tasks.get_mut(&id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Task<P>> {
        self.tasks.values_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Task<P>> {
        self.tasks.values()
    }

    /// Tasks in memory that were not sent yet.
    pub fn waiting(&self) -> usize {
        self.waiting.values().sum()
    }

    /// Of those, the ones of one priority and line.
    pub fn waiting_in(&self, priority: Priority, line: u16) -> usize {
        self.waiting.get(&(priority, line)).copied().unwrap_or(0)
    }

    fn waits(&mut self, priority: Priority, line: u16) {
        *self.waiting.entry((priority, line)).or_default() += 1;
    }

    fn waits_no_more(&mut self, priority: Priority, line: u16) {
        if let Some(count) = self.waiting.get_mut(&(priority, line)) {
            *count = count.saturating_sub(1);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Puts a waiting task into its lane. `refill`: it was read as the rest of its lane.
    pub fn insert(
        &mut self,
        task: Task<P>,
        limits: &LaneLimits,
        now: Time,
        refill: bool,
    ) -> Inserted {
        if self.tasks.contains_key(&task.id) {
            return Inserted::Known;
        }
        let (id, target, class, priority) = (task.id, task.target, task.class, task.priority);
        let lane = self.lanes.entry(target).or_default();
        lane.bear(limits);
        if priority == Priority::Sweep {
            if lane.sweep {
                return Inserted::Coalesced;
            }
            lane.sweep = true;
        } else {
            let queued = lane.changes.len() + lane.reads.len();
            let full = queued >= limits::LANE_WINDOW_MAX;
            if full || (lane.more_after.is_some() && !refill) {
                // Ids may come out of order: it must be among those that are read later.
                let before = TaskId(id.0.saturating_sub(1));
                lane.more_after = Some(lane.more_after.map_or(before, |after| after.min(before)));
                // A page on its way may have been read before this one was stored.
                lane.again |= lane.refilling;
                return Inserted::LaneFull;
            }
            if refill {
                lane.more_after = lane.more_after.max(Some(id));
            }
        }
        let tasks = &self.tasks;
        match class {
            Class::Control => {
                let at = lane.changes.partition_point(|t| *t < id);
                lane.changes.insert(at, id);
            }
            Class::Observe => {
                let key = |t: &TaskId| (tasks.get(t).map_or(priority, |t| t.priority), *t);
                let at = lane.reads.partition_point(|t| key(t) < (priority, id));
                lane.reads.insert(at, id);
            }
        }
        self.waits(priority, task.line);
        self.tasks.insert(id, task);
        self.offer(target, class, now);
        Inserted::Queued
    }

    /// Lists the lane as ready if its head of that class may go now, or sets a timer for when it may.
    fn offer(&mut self, target: Uid, class: Class, now: Time) {
        let Some(lane) = self.lanes.get_mut(&target) else {
            return;
        };
        lane.pass_waiting_reads(class, &self.tasks, now);
        let head = match class {
            Class::Control if lane.changing.is_some() => None,
            Class::Control => lane.changes.front(),
            Class::Observe => lane.reads.front(),
        };
        let Some(head) = head.and_then(|id| self.tasks.get(id)) else {
            return;
        };
        if lane.in_hand >= lane.sessions {
            return; // offered again when one ends
        }
        let at = head.not_before.max(lane.cool_until).max(lane.next_start);
        if at > now {
            self.timers.push(Reverse((at, Timer::Lane(target))));
            return;
        }
        if lane.listed[slot(class)]
            .is_some_and(|(queue, p)| queue == head.queue && list(p) <= list(head.priority))
        {
            return;
        }
        lane.listed[slot(class)] = Some((head.queue, head.priority));
        let index = head.queue.0 as usize;
        let queue = &mut self.queues[index];
        queue.ready[list(head.priority)].push_back((target, class));
        if !std::mem::replace(&mut queue.looked_at, true) {
            self.stirring.push(index);
        }
    }

    /// Takes the next task that may go, marks it `Sending` and counts it into its window.
    pub fn next(&mut self, now: Time) -> Option<TaskId> {
        let mut step = 0;
        while step < self.stirring.len() {
            let at = (self.turn + step) % self.stirring.len();
            let index = self.stirring[at];
            if self.queues[index].ready.iter().all(VecDeque::is_empty) {
                self.queues[index].looked_at = false;
                self.stirring.swap_remove(at);
                // Another one is in its place now, perhaps one that was looked at already: that costs a look.
                continue;
            }
            for priority in [Priority::People, Priority::Batch, Priority::Sweep] {
                let window = &self.windows[self.queues[index].window];
                if window.in_flight >= share(window.size, priority) {
                    break; // lower priorities may fill even less
                }
                if let Some(id) = self.pop(index, priority, now) {
                    self.turn = (at + 1) % self.stirring.len();
                    return Some(id);
                }
            }
            step += 1;
        }
        None
    }

    fn pop(&mut self, index: usize, priority: Priority, now: Time) -> Option<TaskId> {
        while let Some((target, class)) = self.queues[index].ready[list(priority)].pop_front() {
            let Some(lane) = self.lanes.get_mut(&target) else {
                continue;
            };
            if lane.listed[slot(class)]
                .is_none_or(|(q, p)| q.0 as usize != index || list(p) != list(priority))
            {
                continue; // listed again elsewhere meanwhile
            }
            lane.listed[slot(class)] = None;
            lane.pass_waiting_reads(class, &self.tasks, now);
            let free = lane.in_hand < lane.sessions
                && (class == Class::Observe || lane.changing.is_none());
            let ready_at = lane.cool_until.max(lane.next_start);
            let heads = match class {
                Class::Control => &mut lane.changes,
                Class::Observe => &mut lane.reads,
            };
            let head = heads.front().and_then(|id| self.tasks.get_mut(id));
            let Some(task) = head else { continue };
            if !free {
                continue;
            }
            if ready_at.max(task.not_before) > now
                || list(task.priority) != list(priority)
                || task.queue.0 as usize != index
            {
                self.offer(target, class, now);
                continue;
            }
            heads.pop_front();
            task.stage = Stage::Sending;
            lane.in_hand += 1;
            if class == Class::Control {
                lane.changing = Some(task.id);
            }
            lane.next_start = now.plus_ms(lane.interval_ms);
            let low = lane.wants_more();
            let (id, place) = (task.id, (task.priority, task.line));
            self.counted_out(index);
            if low {
                self.refills.push(target);
            }
            self.waits_no_more(place.0, place.1);
            if class == Class::Observe {
                self.offer(target, class, now);
            }
            return Some(id);
        }
        None
    }

    /// The task left; its lease runs until `lease_end`.
    pub fn sent(&mut self, id: TaskId, now: Time, lease_end: Time) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.stage = Stage::Sent { at: now };
            self.timers.push(Reverse((lease_end, Timer::Lease(id))));
        }
    }

    /// Its WEE has it in hand; the lease is set by the caller's own clock of beats.
    pub fn started(&mut self, id: TaskId, at: Time) {
        if let Some(task) = self.tasks.get_mut(&id)
            && matches!(task.stage, Stage::Sent { .. })
        {
            task.stage = Stage::Started { at };
        }
    }

    /// Looks again at the lease of `id` at `at`.
    pub fn lease_check(&mut self, id: TaskId, at: Time) {
        self.timers.push(Reverse((at, Timer::Lease(id))));
    }

    /// The outcome came: its place in the window is free, its lane is not yet.
    pub fn settling(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            let was_out = out(task.stage).then_some(task.queue.0 as usize);
            if task.stage == Stage::Waiting {
                if let Some(count) = self.waiting.get_mut(&(task.priority, task.line)) {
                    *count = count.saturating_sub(1);
                }
                if let Some(lane) = self.lanes.get_mut(&task.target) {
                    lane.changes.retain(|t| *t != id);
                    lane.reads.retain(|t| *t != id);
                    // Counted as in hand until `finish`, so that both ways out are one.
                    lane.in_hand += 1;
                }
            }
            task.stage = Stage::Settling;
            if let Some(queue) = was_out {
                self.counted_in(queue);
            }
        }
    }

    /// The task is over and durable: its lane moves on.
    pub fn finish(&mut self, id: TaskId, now: Time) -> Option<Task<P>> {
        self.settling(id);
        let task = self.tasks.remove(&id)?;
        if let Some(lane) = self.lanes.get_mut(&task.target) {
            lane.in_hand = lane.in_hand.saturating_sub(1);
            if lane.changing == Some(id) {
                lane.changing = None;
            }
            if task.priority == Priority::Sweep {
                lane.sweep = false;
            }
            if lane.wants_more() {
                self.refills.push(task.target);
            }
        }
        self.offer(task.target, Class::Control, now);
        self.offer(task.target, Class::Observe, now);
        self.drop_if_idle(task.target);
        Some(task)
    }

    /// Back to the head of its lane with the next attempt, not before `not_before`.
    pub fn again(&mut self, id: TaskId, attempt: u32, not_before: Time, now: Time) {
        self.settling(id);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.stage = Stage::Waiting;
        task.attempt = attempt;
        task.not_before = not_before;
        let (target, class, place) = (task.target, task.class, (task.priority, task.line));
        self.waits(place.0, place.1);
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.in_hand = lane.in_hand.saturating_sub(1);
            if lane.changing == Some(id) {
                lane.changing = None;
            }
            match class {
                Class::Control => lane.changes.push_front(id),
                // A read that waits for its retry must not hold up the others.
                Class::Observe => lane.reads.push_back(id),
            }
        }
        self.offer(target, Class::Control, now);
        self.offer(target, Class::Observe, now);
    }

    /// The target rests until then.
    pub fn cool(&mut self, target: Uid, until: Time) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.cool_until = lane.cool_until.max(until);
        }
    }

    /// Looks at the waiting task `id` again at `at`, after which it is not worth beginning.
    pub fn deadline(&mut self, id: TaskId, at: Time) {
        self.timers.push(Reverse((at, Timer::Deadline(id))));
    }

    /// Fires what is due.
    pub fn due(&mut self, now: Time) -> Due {
        let mut due = Due::default();
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Lane(target) => {
                    self.offer(target, Class::Control, now);
                    self.offer(target, Class::Observe, now);
                }
                Timer::Lease(id) => {
                    if self.tasks.get(&id).is_some_and(|t| out(t.stage)) {
                        due.leases.push(id);
                    }
                }
                Timer::Deadline(id) => {
                    if self
                        .tasks
                        .get(&id)
                        .is_some_and(|t| t.stage == Stage::Waiting)
                    {
                        due.late.push(id);
                    }
                }
            }
        }
        due
    }

    pub fn next_timer(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn drop_if_idle(&mut self, target: Uid) {
        if let Some(lane) = self.lanes.get(&target)
            && lane.in_hand == 0
            && lane.changes.is_empty()
            && lane.reads.is_empty()
            && lane.more_after.is_none()
            && !lane.refilling
            && lane.interval_ms == 0
            && lane.cool_until == Time::default()
        {
            self.lanes.remove(&target);
        }
    }

    /// Forgets idle lanes whose rest and rate have passed; called now and then.
    pub fn sweep_idle(&mut self, now: Time) {
        self.lanes.retain(|_, l| {
            l.in_hand > 0
                || !l.changes.is_empty()
                || !l.reads.is_empty()
                || l.more_after.is_some()
                || l.refilling
                || l.cool_until.max(l.next_start) > now
        });
    }
}

fn out(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::Sending | Stage::Sent { .. } | Stage::Started { .. }
    )
}

#[cfg(test)]
mod tests;
