//! The subscription for reports: one at a time, made again for as long as it takes when the interconnect breaks it. It
//! must never hold up dispatch, and never ack by a tag of an earlier subscription: such a report comes again.

use futures::future::{BoxFuture, FutureExt};
use sengu_interconnect::{Broker, BrokerError, Delivery, Queue, Subscription, Tag};
use sengu_model::limits;
use std::sync::Arc;
use std::time::Duration;

/// Report messages out without an ack.
const CREDIT: u32 = 4_096;

/// A report to ack, and by which subscription it came.
#[derive(Debug, Clone, Copy)]
pub struct ReportTag {
    life: u32,
    tag: Tag,
}

type Made = Result<Box<dyn Subscription>, BrokerError>;

pub struct Reports {
    broker: Arc<dyn Broker>,
    open: Option<Box<dyn Subscription>>,
    /// A new one on its way.
    making: Option<BoxFuture<'static, Made>>,
    life: u32,
    /// In vain since the last one that worked.
    failures: u32,
}

impl Reports {
    pub fn new(broker: Arc<dyn Broker>) -> Reports {
        Reports {
            broker,
            open: None,
            making: None,
            life: 0,
            failures: 0,
        }
    }

    /// Waits for reports, for as long as the broker is away too. Dropping the future loses nothing.
    pub async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        loop {
            let Some(open) = &mut self.open else {
                self.make().await;
                continue;
            };
            match open.receive(max).await {
                Ok(deliveries) => return deliveries,
                Err(error) => {
                    tracing::warn!(%error, "reports cannot be received");
                    self.open = None;
                }
            }
        }
    }

    pub fn tag(&self, tag: Tag) -> ReportTag {
        ReportTag {
            life: self.life,
            tag,
        }
    }

    pub fn ack(&mut self, tags: &[ReportTag]) {
        let Some(open) = &mut self.open else {
            return;
        };
        let current = tags.iter().filter(|tag| tag.life == self.life);
        let current: Vec<Tag> = current.map(|tag| tag.tag).collect();
        if !current.is_empty() && open.ack(&current).is_err() {
            // They come again, and what they say is known by then.
            tracing::warn!("a report could not be acked");
        }
    }

    async fn make(&mut self) {
        let (broker, failures) = (self.broker.clone(), self.failures);
        let making = self.making.get_or_insert_with(|| {
            async move {
                if failures > 0 {
                    tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                }
                broker.subscribe(Queue::reports(), CREDIT).await
            }
            .boxed()
        });
        let made = making.await;
        self.making = None;
        match made {
            Ok(subscription) => {
                if self.failures > 0 {
                    tracing::info!(failures, "reports are received again");
                }
                self.failures = 0;
                self.life += 1;
                self.open = Some(subscription);
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::warn!(%error, "reports cannot be subscribed to; trying on");
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sengu_interconnect::{MemoryBroker, Message};

    /// Breaks the first subscription at its second receive.
    struct Breaks(Box<dyn Subscription>, bool);

    impl Subscription for Breaks {
        fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
            if std::mem::replace(&mut self.1, true) {
                return std::future::ready(Err(BrokerError::Away(None))).boxed();
            }
            self.0.receive(max)
        }
        fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
            self.0.ack(tags)
        }
        fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
            self.0.redeliver(tags)
        }
        fn set_credit(&mut self, credit: u32) {
            self.0.set_credit(credit);
        }
    }

    #[tokio::test]
    async fn a_broken_subscription_is_made_again_and_old_tags_ack_nothing() {
        let broker = MemoryBroker::new();
        let message = |body: &'static str| Message {
            queue: Queue::reports(),
            body: Bytes::from_static(body.as_bytes()),
        };
        broker.publish(vec![message("a")]).await.unwrap();
        let mut reports = Reports::new(Arc::new(broker.clone()));
        let subscription = broker.subscribe(Queue::reports(), CREDIT).await.unwrap();
        reports.open = Some(Box::new(Breaks(subscription, false)));
        let first = reports.receive(8).await;
        let old = reports.tag(first[0].tag);
        // The first subscription breaks; its unacked report comes again by the second one.
        let again = reports.receive(8).await;
        assert_eq!(again[0].body, first[0].body);
        reports.ack(&[old]);
        reports.ack(&[reports.tag(again[0].tag)]);
        assert_eq!(broker.depth(Queue::reports()).await.unwrap(), 0);
        broker.publish(vec![message("b")]).await.unwrap();
        assert_eq!(reports.receive(8).await[0].body, "b");
    }
}
