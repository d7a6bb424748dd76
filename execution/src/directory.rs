//! What this WEE follows in the retained directory: offers, what is wanted of it, and others of its own name.

use crate::shell::{Event, Shell};
use bytes::Bytes;
use sengu_interconnect::{BrokerError, Directory};
use std::time::Duration;

/// Wait before the directory or a queue is asked for again after the broker was away.
pub const BROKER_RETRY: Duration = Duration::from_secs(1);

/// A part of the retained directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What logic says may be run, under `worker/<kind>/<version>`.
    Offers,
    /// What logic wants of this WEE.
    Spec,
    /// That logic lives, under `logic`.
    Logic,
    /// What WEEs of this one's name say of themselves.
    Namesakes,
}

/// Entries of a part of the directory.
pub struct News {
    pub entries: Vec<(String, Option<Bytes>)>,
    /// All that is there, not only what has changed.
    pub all: bool,
}

impl Shell {
    fn prefix(&self, part: Part) -> String {
        match part {
            Part::Offers => "worker/".to_owned(),
            Part::Spec => format!("wee-spec/{}", self.config.name),
            Part::Logic => sengu_model::wire::envelope::LOGIC.to_owned(),
            Part::Namesakes => self.wee_key(),
        }
    }

    pub fn follow(&self, part: Part, directory: Option<Box<dyn Directory>>, wait: Duration) {
        let (broker, prefix) = (self.broker.clone(), self.prefix(part));
        self.source(async move {
            let all = directory.is_none();
            let mut directory = match directory {
                Some(directory) => directory,
                None => {
                    let mut wait = wait;
                    loop {
                        tokio::time::sleep(wait).await;
                        wait = BROKER_RETRY;
                        match broker.directory(prefix.clone()).await {
                            Ok(directory) => break directory,
                            Err(e) => tracing::warn!(prefix, error = %e, "follow the directory"),
                        }
                    }
                }
            };
            let entries = directory.next().await;
            let news = entries.map(|entries| News { entries, all });
            Event::Directory(part, directory, news)
        });
    }

    pub fn on_directory(
        &mut self,
        part: Part,
        directory: Box<dyn Directory>,
        news: Result<News, BrokerError>,
    ) {
        match news {
            Ok(news) => {
                match part {
                    Part::Offers => self.on_offers(news),
                    Part::Spec => self.on_spec(news),
                    Part::Logic => self.on_logic(&news),
                    Part::Namesakes => self.on_namesakes(news),
                }
                self.follow(part, Some(directory), Duration::ZERO);
            }
            Err(e) => {
                // What was read last goes on being true; all entries come again with the first answer.
                tracing::warn!(?part, error = %e, "the directory is away");
                self.follow(part, None, BROKER_RETRY);
            }
        }
    }
}
