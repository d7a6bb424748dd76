//! The background half of a subscription: asks for as many messages as the credit allows, says for what is held long
//! that it is in work, sends the answers, and gives back what there is no credit for any more. It must never hold more
//! than the credit for longer than it takes to give it back, and must not end before all it holds is answered.

use crate::broker::Core;
use crate::conn::Conn;
use crate::delivery::{Answer, Answered, Facts, facts};
use crate::limits::{BEAT_EVERY, CLOSE_MAX, DELIVERIES_MAX, PULL_MAX, PULL_RETRY, PULLS_MAX};
use crate::park::park;
use crate::pull::{Came, Pull, pull};
use crate::subscription::{Held, Shared};
use crate::topology::{depth, ensure_consumer};
use async_nats::Message;
use futures::StreamExt as _;
use sengu_interconnect::Queue;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// Messages read at one go before the owner is told: it need not be woken for each.
const READ_MAX: usize = 256;

pub struct Pump {
    conn: Arc<Conn>,
    core: Arc<Core>,
    shared: Arc<Shared>,
    queue: Queue,
    stream: String,
    consumer: String,
    pulls: Vec<Pull>,
    /// No pull before this: one was refused, and the consumer is to be looked at first.
    retry_at: Option<Instant>,
    beat_at: Instant,
    close_by: Option<Instant>,
}

/// The connection is gone.
struct Gone;

impl From<()> for Gone {
    fn from((): ()) -> Gone {
        Gone
    }
}

/// What the credit asks for.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Pull(usize),
    /// Too much is asked for: all pulls are taken back, and then as much as fits is asked for again.
    TakeBack,
}

/// `asked` messages may come by `pulls` pulls, `held` are here.
fn step(credit: usize, held: usize, asked: usize, pulls: usize) -> Step {
    let room = credit.saturating_sub(held);
    if asked > room {
        // A little too much is left: it seldom comes, and is given back when it does. Others would wait for much.
        return match room == 0 || asked > 2 * room {
            true => Step::TakeBack,
            false => Step::Nothing,
        };
    }
    let want = room - asked;
    // Few great pulls rather than many small ones, unless nothing is left of the last one.
    let enough = asked == 0 || want >= credit.div_ceil(4);
    match want > 0 && enough && asked < PULL_MAX {
        true if pulls >= PULLS_MAX => Step::TakeBack,
        true => Step::Pull(want.min(PULL_MAX)),
        false => Step::Nothing,
    }
}

enum Event {
    Asked,
    Read(Vec<(usize, Option<Message>)>),
    Time,
    Lost,
}

impl Pump {
    pub fn new(conn: Arc<Conn>, core: Arc<Core>, shared: Arc<Shared>, queue: Queue) -> Pump {
        let (stream, consumer) = (conn.names.work_stream(), conn.names.consumer(&queue));
        Pump {
            conn,
            core,
            shared,
            queue,
            stream,
            consumer,
            pulls: Vec::new(),
            retry_at: None,
            beat_at: Instant::now() + BEAT_EVERY,
            close_by: None,
        }
    }

    /// Runs until the owner is gone and all is given back, or the connection is lost.
    pub async fn run(mut self) {
        let conn = self.conn.clone();
        let why = tokio::select! {
            biased;
            () = conn.signals.until_lost() => conn.gone(),
            ended = self.work() => match ended {
                Ok(()) => return,
                Err(Gone) => conn.gone(),
            },
        };
        let (mut later, is_closed) = {
            let mut desk = self.shared.desk.lock();
            let ready = std::mem::take(&mut desk.ready);
            let mut later = std::mem::take(&mut desk.answers);
            later.extend(ready.into_iter().map(|held| (held.ack, Answer::Nak)));
            desk.over.get_or_insert(why.clone());
            (later, desk.is_closed)
        };
        if is_closed {
            let out = std::mem::take(&mut self.shared.desk.lock().out);
            later.extend(out.into_values().map(|held| (held.ack, Answer::Nak)));
        }
        self.core.answer_later(later);
        self.shared.end(why);
    }

    async fn work(&mut self) -> Result<(), Gone> {
        loop {
            if self.settle().await? {
                return Ok(());
            }
            match self.next().await {
                Event::Asked => {}
                Event::Read(read) => self.on_read(read).await?,
                Event::Time => self.on_time().await?,
                Event::Lost => return Err(Gone),
            }
        }
    }

    async fn next(&mut self) -> Event {
        let conn = self.conn.clone();
        let wake = self.wake_at();
        let shared = self.shared.clone();
        let pulls = &mut self.pulls;
        let read = poll_fn(|cx| {
            let mut read = Vec::new();
            for (at, pull) in pulls.iter_mut().enumerate() {
                while read.len() < READ_MAX
                    && let Poll::Ready(message) = pull.sub.poll_next_unpin(cx)
                {
                    let is_end = message.is_none();
                    read.push((at, message));
                    if is_end {
                        break;
                    }
                }
            }
            match read.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(read),
            }
        });
        tokio::select! {
            biased;
            () = conn.signals.until_lost() => Event::Lost,
            () = shared.asked.notified() => Event::Asked,
            read = read => Event::Read(read),
            () = tokio::time::sleep_until(wake.into()) => Event::Time,
        }
    }

    fn wake_at(&self) -> Instant {
        let silent = self.pulls.iter().map(Pull::silent_at);
        let others = [self.retry_at, self.close_by].into_iter().flatten();
        silent.chain(others).fold(self.beat_at, Instant::min)
    }

    /// Brings what is asked for and what is answered in line with what the owner wants; true when all is over.
    async fn settle(&mut self) -> Result<bool, Gone> {
        // In this order: what is given back must not come to our own pulls.
        let (credit, held, is_closed) = {
            let desk = self.shared.desk.lock();
            let credit = if desk.is_closed { 0 } else { desk.credit };
            (credit, desk.held(), desk.is_closed)
        };
        let asked = |pulls: &[Pull]| -> (usize, usize) {
            let live = pulls.iter().filter(|pull| !pull.is_taken_back);
            live.fold((0, 0), |(sum, count), pull| {
                (sum + pull.remaining, count + 1)
            })
        };
        let (sum, count) = asked(&self.pulls);
        let held_then = if is_closed { 0 } else { held };
        let mut step_now = step(credit, held_then, sum, count);
        if step_now == Step::TakeBack {
            for pull in &mut self.pulls {
                pull.take_back(&self.conn).await?;
            }
            self.forget_pulls().await;
            step_now = step(credit, held_then, 0, 0);
        }
        self.give_back(credit).await?;
        if let Step::Pull(batch) = step_now
            && self.retry_at.is_none()
        {
            let pull = pull(&self.conn, &self.stream, &self.consumer, batch).await?;
            self.pulls.push(pull);
        }
        if !is_closed {
            return Ok(false);
        }
        let close_by = *self
            .close_by
            .get_or_insert_with(|| Instant::now() + CLOSE_MAX);
        Ok(self.pulls.is_empty() || Instant::now() >= close_by)
    }

    /// Has the server forget what was taken back: it does so when it is asked about the consumer. Else it finds out when
    /// it has a message for it, and old servers (2.9.10 does) then mislay what is given back until `ACK_WAIT` is over.
    async fn forget_pulls(&self) {
        if let Err(error) = depth(&self.conn, &self.queue).await {
            tracing::debug!(queue = %self.queue, %error, "ask about the consumer");
        }
    }

    /// Sends the answers, and gives back what is beyond the credit: all that is held when the owner is gone.
    async fn give_back(&mut self, credit: usize) -> Result<(), Gone> {
        let answers = {
            let mut desk = self.shared.desk.lock();
            while desk.held() > credit
                && let Some(held) = desk.ready.pop_back()
            {
                desk.answers.push((held.ack, Answer::Nak));
            }
            if desk.is_closed {
                let out = std::mem::take(&mut desk.out);
                let out = out.into_values().map(|held| (held.ack, Answer::Nak));
                desk.answers.extend(out);
            }
            std::mem::take(&mut desk.answers)
        };
        self.send(answers).await
    }

    async fn send(&self, answers: Vec<Answered>) -> Result<(), Gone> {
        for (to, answer) in answers {
            let body = bytes::Bytes::from_static(answer.as_bytes());
            self.conn.client.publish(to, body).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn on_read(&mut self, read: Vec<(usize, Option<Message>)>) -> Result<(), Gone> {
        let mut ended = Vec::new();
        let mut arrived = Vec::new();
        for (at, message) in read {
            let Some(message) = message else {
                ended.push(at);
                continue;
            };
            match self.pulls[at].read(message) {
                Came::Delivery(message) => {
                    arrived.push(message);
                    let pull = &self.pulls[at];
                    if pull.remaining == 0 && !pull.is_taken_back {
                        ended.push(at);
                    }
                }
                Came::Word => {}
                Came::Ended => ended.push(at),
                Came::Broken(why) => {
                    ended.push(at);
                    if !self.pulls[at].is_taken_back {
                        tracing::debug!(queue = %self.queue, why, "pull");
                        self.retry_at = Some(Instant::now() + PULL_RETRY);
                    }
                }
            }
        }
        ended.sort_unstable();
        ended.dedup();
        for at in ended.into_iter().rev() {
            let mut pull = self.pulls.swap_remove(at);
            // It may have ended by itself, and then there is nobody to tell.
            let _ = pull.sub.unsubscribe().await;
        }
        self.on_arrived(arrived).await
    }

    async fn on_arrived(&mut self, arrived: Vec<Message>) -> Result<(), Gone> {
        if arrived.is_empty() {
            return Ok(());
        }
        let mut killers = Vec::new();
        {
            let mut desk = self.shared.desk.lock();
            for message in arrived {
                let Some(ack) = message.reply else {
                    continue;
                };
                let Some(facts) = facts(&ack) else {
                    continue;
                };
                if facts.delivered > DELIVERIES_MAX && self.queue != Queue::parked() {
                    killers.push((ack, facts, message.payload));
                    continue;
                }
                desk.ready.push_back(Held {
                    ack,
                    body: message.payload,
                    redelivered: facts.delivered > 1,
                    told: Instant::now(),
                });
            }
        }
        self.shared.arrived.notify_one();
        for (ack, facts, body) in killers {
            self.put_aside(ack, facts, body);
        }
        Ok(())
    }

    /// In the background: others need not wait for it.
    fn put_aside(&self, ack: async_nats::Subject, facts: Facts, body: bytes::Bytes) {
        let (conn, queue) = (self.conn.clone(), self.queue.clone());
        tokio::spawn(async move {
            // Without an answer it comes again, and this is tried once more.
            if let Err(error) = park(&conn, &queue, facts, &body).await {
                tracing::warn!(%queue, error = error.text(), "put a message aside");
                return;
            }
            tracing::warn!(%queue, deliveries = facts.delivered, "a message was put aside");
            let term = bytes::Bytes::from_static(Answer::Term.as_bytes());
            let _ = conn.client.publish(ack, term).await;
        });
    }

    async fn on_time(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        if now >= self.beat_at {
            self.beat_at = now + BEAT_EVERY;
            self.beat(now).await?;
        }
        let forgotten: Vec<usize> = (0..self.pulls.len())
            .filter(|at| self.pulls[*at].silent_at() <= now)
            .collect();
        for at in forgotten.into_iter().rev() {
            let mut pull = self.pulls.swap_remove(at);
            let _ = pull.sub.unsubscribe().await;
            self.retry_at = Some(now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = match ensure_consumer(&self.conn, &self.queue).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(queue = %self.queue, error = error.text(), "make its consumer again");
                    Some(Instant::now() + PULL_RETRY)
                }
            };
        }
        Ok(())
    }

    /// Says of all that was held for a while that it is in work.
    async fn beat(&mut self, now: Instant) -> Result<(), Gone> {
        let mut beats = Vec::new();
        {
            let desk = &mut *self.shared.desk.lock();
            for held in desk.out.values_mut().chain(desk.ready.iter_mut()) {
                if now.duration_since(held.told) >= BEAT_EVERY / 2 {
                    held.told = now;
                    beats.push((held.ack.clone(), Answer::Beat));
                }
            }
        }
        self.send(beats).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_asked_for_as_the_credit_allows() {
        for ((credit, held, asked, pulls), expected) in [
            ((0, 0, 0, 0), Step::Nothing),
            ((3, 0, 0, 0), Step::Pull(3)),
            ((3, 3, 0, 0), Step::Nothing),
            ((3, 2, 0, 0), Step::Pull(1)),
            ((1_000, 0, 0, 0), Step::Pull(PULL_MAX)),
            ((1_000, 0, PULL_MAX, 1), Step::Nothing),
            ((1_000, 200, PULL_MAX - 1, 1), Step::Pull(289)),
            // Some are on their way: small pulls wait until they are worth it.
            ((100, 10, 80, 1), Step::Nothing),
            ((100, 10, 60, 1), Step::Pull(30)),
            ((100, 10, 60, PULLS_MAX), Step::TakeBack),
            // The credit is less than it was.
            ((0, 0, 8, 1), Step::TakeBack),
            ((7, 7, 1, 1), Step::TakeBack),
            ((7, 0, 8, 1), Step::Nothing),
            ((2, 0, 8, 1), Step::TakeBack),
        ] {
            assert_eq!(
                step(credit, held, asked, pulls),
                expected,
                "{credit} {held} {asked} {pulls}"
            );
        }
    }
}
