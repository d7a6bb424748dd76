//! Answers claims in logic's place: who may begin what may not be repeated.

use super::Ask;
use bytes::Bytes;
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue, Tag};
use sengu_model::TaskId;
use sengu_model::wire::envelope::{Event, Grant, ReportEnvelope, WeeCommand};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// How claims are answered from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The first that asks may, as logic does it.
    First,
    Never,
    No,
}

/// Who has claimed what, in the order of asking.
#[derive(Debug)]
pub struct Claims {
    pub answer: Answer,
    pub said: Vec<(String, TaskId, u32)>,
    pub(super) granted: HashMap<(TaskId, u64, u32), (String, u64)>,
}

impl Claims {
    pub fn of(&self, ask: &Ask) -> Vec<String> {
        let fits = |(_, task, attempt): &&(String, TaskId, u32)| {
            (*task, *attempt) == (ask.task, ask.attempt)
        };
        self.said.iter().filter(fits).map(|c| c.0.clone()).collect()
    }

    fn hear(&mut self, envelope: &ReportEnvelope) -> Option<WeeCommand> {
        let mut items = Vec::new();
        for item in envelope.items.iter().filter(|i| i.event == Event::Claim) {
            let wee = (envelope.wee.to_string(), envelope.life);
            self.said.push((wee.0.clone(), item.task, item.attempt));
            let may = match self.answer {
                Answer::Never => continue,
                Answer::No => false,
                Answer::First => {
                    let key = (item.task, item.epoch, item.attempt);
                    *self.granted.entry(key).or_insert_with(|| wee.clone()) == wee
                }
            };
            items.push(Grant {
                task: item.task,
                epoch: item.epoch,
                attempt: item.attempt,
                may,
            });
        }
        let life = envelope.life;
        (!items.is_empty()).then_some(WeeCommand::Begin { life, items })
    }
}

/// Takes all reports, answers claims, and passes the rest on.
pub(super) async fn answer_claims(
    broker: Arc<MemoryBroker>,
    claims: Arc<Mutex<Claims>>,
    reports: mpsc::UnboundedSender<Bytes>,
) {
    let all = broker.subscribe(Queue::reports(), 1 << 20).await;
    let mut all = all.expect("subscribe");
    while let Ok(deliveries) = all.receive(512).await {
        let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
        all.ack(&tags).expect("ack");
        for delivery in deliveries {
            let envelope: ReportEnvelope =
                serde_json::from_slice(&delivery.body).expect("a report envelope");
            let answer = claims.lock().expect("not poisoned").hear(&envelope);
            if let Some(answer) = answer {
                let message = Message {
                    queue: Queue::wee(&envelope.wee),
                    body: serde_json::to_vec(&answer).expect("JSON").into(),
                };
                broker.publish(vec![message]).await.expect("publish");
            }
            if reports.send(delivery.body).is_err() {
                return;
            }
        }
    }
}
