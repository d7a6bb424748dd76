//! Commands of logic to this WEE.

use crate::directory::BROKER_RETRY;
use crate::lease::Fence;
use crate::shell::{Event, Shell};
use sengu_interconnect::{Delivery, Queue, Subscription, Tag};
use sengu_model::TaskId;
use sengu_model::wire::envelope::WeeCommand;
use std::sync::Arc;
use tokio::sync::Notify;

/// Commands taken from the broker at once, and those without an ack.
const COMMANDS_MAX: usize = 256;
/// Cancels remembered for tasks that are not here (yet).
const CANCELLED_MAX: usize = 1_024;
/// Parts of images from this on, in bytes, are long enough to be read elsewhere than in the loop.
const PART_BYTES_MIN: usize = 16 << 10;
/// How they begin.
const PART: &[u8] = br#"{"type":"blob_part""#;

#[derive(Default)]
pub struct Commands {
    /// A wait for commands is under way.
    pub followed: bool,
    /// Breaks it off.
    pub poke: Arc<Notify>,
}

impl Shell {
    pub fn follow_commands(&mut self, subscription: Option<Box<dyn Subscription>>) {
        self.commands.followed = true;
        let (broker, queue) = (self.broker.clone(), Queue::wee(&self.config.name));
        let poke = self.commands.poke.clone();
        self.source(async move {
            let subscription = match subscription {
                Some(subscription) => Ok(subscription),
                None => broker.subscribe(queue, COMMANDS_MAX as u32).await,
            };
            let result = match subscription {
                Ok(mut subscription) => {
                    let received = tokio::select! {
                        biased;
                        received = subscription.receive(COMMANDS_MAX) => received,
                        () = poke.notified() => Ok(Vec::new()),
                    };
                    received.map(|deliveries| (subscription, deliveries))
                }
                Err(e) => Err(e),
            };
            match result {
                Ok((subscription, deliveries)) => Event::Commands(Some(subscription), deliveries),
                Err(e) => {
                    tracing::warn!(error = %e, "follow commands");
                    tokio::time::sleep(BROKER_RETRY).await;
                    Event::Commands(None, Vec::new())
                }
            }
        });
    }

    pub fn on_commands(
        &mut self,
        subscription: Option<Box<dyn Subscription>>,
        deliveries: &[Delivery],
    ) {
        self.commands.followed = false;
        if self.stays_out() {
            // They are for the other one: what is not acked goes to it.
            return;
        }
        let mut subscription = subscription;
        if let Some(open) = &mut subscription {
            let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
            if let Err(e) = open.ack(&tags) {
                tracing::warn!(error = %e, "ack commands");
            }
        }
        for delivery in deliveries {
            self.on_command(delivery);
        }
        self.follow_commands(subscription);
    }

    fn on_command(&mut self, delivery: &Delivery) {
        if delivery.body.len() >= PART_BYTES_MIN && delivery.body.starts_with(PART) {
            self.on_blob_part(&delivery.body);
            return;
        }
        match serde_json::from_slice::<WeeCommand>(&delivery.body) {
            Ok(WeeCommand::Cancel {
                task,
                epoch,
                attempt,
            }) => self.on_cancel(task, Fence { epoch, attempt }),
            Ok(WeeCommand::Begin { life, items }) => self.on_begin(life, &items),
            Ok(WeeCommand::BlobPart { .. }) => self.on_blob_part(&delivery.body),
            // It may be the very command that this program was started for.
            Ok(WeeCommand::Upgrade) if delivery.redelivered => {
                tracing::warn!("an upgrade that was asked for earlier is passed over");
            }
            Ok(WeeCommand::Upgrade) => self.on_upgrade(),
            Err(e) => {
                let queue = Queue::wee(&self.config.name);
                self.put_aside(&queue, &e.to_string(), &delivery.body);
            }
        }
    }

    fn on_cancel(&mut self, task: TaskId, fence: Fence) {
        if self.logic.is_over(fence.epoch) && !self.hand.contains_key(&task) {
            return;
        }
        if self.cancel_claimed(task, fence) {
            return;
        }
        if let Some(in_hand) = self.hand.get(&task) {
            if in_hand.fence == fence {
                let instance = in_hand.instance;
                self.send_cancel(instance, task);
                return;
            }
        } else if self.fences.seen(task) == Some(fence) && !self.is_waiting(task) {
            return; // it ended a moment ago
        }
        if self.cancelled.len() == CANCELLED_MAX {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back((task, fence));
    }

    fn is_waiting(&self, task: TaskId) -> bool {
        let waiting = |pool: &crate::pools::Pool| {
            pool.waiting
                .iter()
                .flatten()
                .any(|waiting| waiting.task == task)
        };
        self.held_back.contains_key(&task) || self.pools.iter().any(|(_, pool)| waiting(pool))
    }
}
