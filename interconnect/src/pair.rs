//! Two brokers as one: the first carries the queues, the second keeps the retained directory. For brokers that can do
//! only one of them, such as AMQP and MQTT. It must never hide that one of the two is away.

use crate::contact::Contact;
use crate::{Broker, BrokerError, Directory, Message, Queue, Subscription};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::watch;

pub struct PairBroker {
    pub queues: Arc<dyn Broker>,
    pub directory: Arc<dyn Broker>,
}

impl Broker for PairBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.queues.publish(batch)
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        self.queues.subscribe(queue, credit)
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.queues.depth(queue)
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.directory.retain(key, value)
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        self.directory.directory(prefix)
    }

    fn lacks(&self) -> Vec<String> {
        let named = |role: &'static str, broker: &Arc<dyn Broker>| {
            let lacks = broker.lacks().into_iter();
            lacks.map(move |lack| format!("{role}: {lack}"))
        };
        let queues = named("queues", &self.queues);
        queues.chain(named("directory", &self.directory)).collect()
    }

    /// The worse of both. Must be called within a tokio runtime.
    fn contact(&self) -> watch::Receiver<Contact> {
        let (mut queues, mut directory) = (self.queues.contact(), self.directory.contact());
        let now = worse(&queues.borrow_and_update(), &directory.borrow_and_update());
        let (told, contact) = watch::channel(now);
        tokio::spawn(async move {
            loop {
                // One that ends says nothing new: the other is followed alone.
                let more = tokio::select! {
                    Ok(()) = queues.changed() => true,
                    Ok(()) = directory.changed() => true,
                    () = told.closed() => false,
                    else => false,
                };
                if !more {
                    // Whoever follows keeps the last that was known.
                    return;
                }
                let now = worse(&queues.borrow_and_update(), &directory.borrow_and_update());
                told.send_if_modified(|before| {
                    let is_new = *before != now;
                    *before = now;
                    is_new
                });
            }
        });
        contact
    }
}

/// Away is worse than blocked; of two alike, what has been so for longer is told.
fn worse(queues: &Contact, directory: &Contact) -> Contact {
    let rank = |contact: &Contact| match contact {
        Contact::There => (0, None),
        Contact::Blocked { since, .. } => (1, Some(std::cmp::Reverse(*since))),
        Contact::Away { since, .. } => (2, Some(std::cmp::Reverse(*since))),
    };
    match rank(directory) > rank(queues) {
        true => directory.clone(),
        false => queues.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryBroker;
    use futures::FutureExt;
    use std::time::{Duration, Instant};

    fn pair(queues: &MemoryBroker, directory: &MemoryBroker) -> PairBroker {
        PairBroker {
            queues: Arc::new(queues.clone()),
            directory: Arc::new(directory.clone()),
        }
    }

    #[tokio::test]
    async fn passes_the_suite() {
        let open = || async {
            Arc::new(pair(&MemoryBroker::new(), &MemoryBroker::new())) as Arc<dyn Broker>
        };
        crate::conformance::run(open).await;
    }

    #[tokio::test]
    async fn each_does_its_part_alone() {
        let (queues, directory) = (MemoryBroker::new(), MemoryBroker::new());
        let both = pair(&queues, &directory);
        let message = Message {
            queue: Queue::reports(),
            body: Bytes::from_static(b"x"),
        };
        both.publish(vec![message]).await.unwrap();
        both.retain("a".to_owned(), Some(Bytes::from_static(b"1")))
            .await
            .unwrap();
        assert_eq!(queues.depth(Queue::reports()).await.unwrap(), 1);
        assert_eq!(directory.depth(Queue::reports()).await.unwrap(), 0);
        for (broker, count) in [(&queues, 0), (&directory, 1)] {
            let mut all = broker.directory(String::new()).await.unwrap();
            assert_eq!(all.next().await.unwrap().len(), count);
        }
        let lacks = both.lacks();
        assert!(lacks[0].starts_with("queues: ") && lacks[1].starts_with("directory: "));
    }

    /// A broker of which only the contact matters.
    struct Told(watch::Sender<Contact>);

    impl Broker for Told {
        fn publish(&self, _: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
            std::future::ready(Err(BrokerError::Away(None))).boxed()
        }
        fn subscribe(
            &self,
            _: Queue,
            _: u32,
        ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
            std::future::ready(Err(BrokerError::Away(None))).boxed()
        }
        fn depth(&self, _: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
            std::future::ready(Err(BrokerError::Away(None))).boxed()
        }
        fn retain(&self, _: String, _: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
            std::future::ready(Err(BrokerError::Away(None))).boxed()
        }
        fn directory(&self, _: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
            std::future::ready(Err(BrokerError::Away(None))).boxed()
        }
        fn lacks(&self) -> Vec<String> {
            Vec::new()
        }
        fn contact(&self) -> watch::Receiver<Contact> {
            self.0.subscribe()
        }
    }

    #[tokio::test]
    async fn contact_is_the_worse_of_both_and_follows_them() {
        let queues = Arc::new(Told(watch::Sender::new(Contact::There)));
        let directory = Arc::new(Told(watch::Sender::new(Contact::There)));
        let both = PairBroker {
            queues: queues.clone(),
            directory: directory.clone(),
        };
        let since = Instant::now();
        let why = |text: &str| text.to_owned();
        let away = |text| Contact::Away {
            since,
            why: why(text),
        };
        let blocked = Contact::Blocked {
            since,
            why: why("full"),
        };
        let mut contact = both.contact();
        assert_eq!(*contact.borrow(), Contact::There);
        for (which, told, expected) in [
            (&directory, blocked.clone(), blocked.clone()),
            (&queues, away("q"), away("q")),
            (&directory, away("d"), away("q")),
            (&queues, Contact::There, away("d")),
            (&directory, Contact::There, Contact::There),
        ] {
            which.0.send_replace(told);
            let reached = contact.wait_for(|now| *now == expected);
            let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
            assert!(reached.is_ok(), "{expected:?}");
        }
    }
}
