//! The one task that writes. It takes everything that waits, has it applied in one transaction under the lock of `head`,
//! and answers all. It never waits for more work to come: grouping is what gathers while the database is busy. When an
//! answer to a commit was lost it finds out what became of it before anybody is told.

use crate::apply::{self, Mark, is_alone};
use crate::error::{Sort, Trouble, unavailable};
use crate::head::Head;
use crate::load;
use crate::moving;
use crate::numbers::{jittered, random};
use crate::pool::{AWAY_MAX, BACKOFF_FIRST, BACKOFF_MAX};
use crate::retain;
use crate::session::{Place, Role, Session};
use sengu_store::moving::Row;
use sengu_store::{Batch, Committed, Op, Retention, StoreError};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Batches that may wait for the writer; more wait in `commit`.
pub const BATCHES_WAITING_MAX: usize = 1_024;
/// Operations of one transaction, beyond its first batch: bounds how long a caller waits for others.
const OPS_PER_TRANSACTION_MAX: usize = 4_096;
/// Bytes of one transaction, beyond its first batch: bounds what is held in memory on both sides.
const BYTES_PER_TRANSACTION_MAX: usize = 16 << 20;
/// The lock is had, or not, before this; longer means that the server is not there.
const PREPARE_MAX: Duration = Duration::from_secs(10);
/// A slow disk may take long; longer means that the server is not there.
const FINISH_MAX: Duration = Duration::from_secs(35);
/// How long the outcome of a commit is asked for when the database is away.
const OUTCOME_MAX: Duration = Duration::from_secs(60);
/// The mark of a transaction is in the database for longer than this.
const MARK_KEPT_MIN: Duration = Duration::from_secs(12 * 3_600);

pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub enum Message {
    Commit(Waiting),
    /// Answers how many rows it was about; given up when the database is away at that time.
    Work(Work, Reply<u64>, Instant),
    /// Answered when everything accepted before is answered.
    Close(Reply<()>),
}

/// What has a transaction of its own, and may be done twice.
pub enum Work {
    /// One step; about 0 rows when nothing is left to do.
    Retain(Retention),
    /// Rows of another store.
    Import(Vec<Row>),
    /// These rows in the place of everything.
    Clear(Vec<Row>),
}

impl Work {
    fn what(&self) -> &'static str {
        match self {
            Work::Retain(_) => "delete what is no longer kept",
            Work::Import(_) => "import rows",
            Work::Clear(_) => "delete everything",
        }
    }

    /// Does it, under the lock.
    async fn within(&self, session: &Session, mut head: Head) -> Result<(Head, u64), Trouble> {
        match self {
            Work::Retain(retention) => {
                let rows = retain::step(session, &mut head, retention).await?;
                Ok((head, rows))
            }
            Work::Import(rows) => {
                let head = moving::import(session, head, rows).await?;
                Ok((head, rows.len() as u64))
            }
            Work::Clear(rows) => {
                let head = moving::clear(session).await?;
                let head = moving::import(session, head, rows).await?;
                Ok((head, 1))
            }
        }
    }
}

pub struct Waiting {
    batch: Batch,
    reply: Reply<Committed>,
    /// Given up when the database is away at this time.
    until: Instant,
}

impl Waiting {
    pub fn new(batch: Batch, reply: Reply<Committed>) -> Waiting {
        let until = Instant::now() + AWAY_MAX;
        Waiting {
            batch,
            reply,
            until,
        }
    }

    fn answer(self, answer: Result<Committed, StoreError>) {
        // A caller that went away wants no answer.
        let _ = self.reply.send(answer);
    }
}

/// What became of a transaction.
enum Outcome<T> {
    Done(T),
    /// Nothing of it is there.
    Undone(Trouble),
    /// Nobody could be asked.
    Unknown(Trouble),
}

pub struct Writer {
    place: Arc<Place>,
    queue: mpsc::Receiver<Message>,
    /// Taken from the queue, not yet looked at.
    backlog: VecDeque<Message>,
    session: Option<Session>,
    /// Streams that are committed.
    streams: HashMap<String, i32>,
    mark: Mark,
    /// Number of the last transaction that is known to be committed, and when that was.
    done: Option<(i64, Instant)>,
    /// The database has lost that one: the process has in memory what the database does not have.
    behind: bool,
}

/// Connects as a writer does.
pub async fn connect(place: &Place) -> Result<Session, Trouble> {
    let mut session = place.connect(Role::Store).await?;
    let all = apply::STATEMENTS.iter().chain(&load::STATEMENTS);
    session
        .fix(
            all.chain(&retain::STATEMENTS)
                .chain(&moving::STATEMENTS)
                .copied(),
        )
        .await?;
    Ok(session)
}

impl Writer {
    pub fn new(place: Arc<Place>, session: Session, queue: mpsc::Receiver<Message>) -> Writer {
        Writer {
            place,
            queue,
            backlog: VecDeque::new(),
            session: Some(session),
            streams: HashMap::new(),
            mark: Mark {
                writer: random(),
                number: 0,
            },
            done: None,
            behind: false,
        }
    }

    /// Runs until it is told to close or every sender is gone, and everything accepted is answered.
    pub async fn run(mut self) {
        let mut closing = Vec::new();
        while let Some(message) = self.next().await {
            match message {
                Message::Commit(first) => {
                    // Those who were just answered, and are about to ask again, come along.
                    tokio::task::yield_now().await;
                    let group = self.gather(first);
                    self.commit(group).await;
                }
                Message::Work(work, reply, until) => {
                    let done = self.work(&work, until).await;
                    if matches!(work, Work::Clear(_)) {
                        self.streams.clear();
                    }
                    let _ = reply.send(done);
                }
                Message::Close(reply) => {
                    // What was accepted before is still done; what comes later is refused.
                    self.queue.close();
                    closing.push(reply);
                }
            }
        }
        self.session = None;
        for reply in closing {
            let _ = reply.send(Ok(()));
        }
    }

    async fn next(&mut self) -> Option<Message> {
        match self.backlog.pop_front() {
            Some(message) => Some(message),
            None => self.queue.recv().await,
        }
    }

    /// What waits behind the first batch and may share its transaction.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut alone = is_alone(&first.batch);
        let mut ops = first.batch.ops.len();
        let mut bytes = bytes(&first.batch);
        let mut group = vec![first];
        while !alone && ops < OPS_PER_TRANSACTION_MAX && bytes < BYTES_PER_TRANSACTION_MAX {
            let message = match self.backlog.pop_front() {
                Some(message) => message,
                None => match self.queue.try_recv() {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            match message {
                Message::Commit(waiting) if !is_alone(&waiting.batch) => {
                    ops += waiting.batch.ops.len();
                    bytes += self::bytes(&waiting.batch);
                    group.push(waiting);
                }
                other => {
                    self.backlog.push_front(other);
                    alone = true;
                }
            }
        }
        group
    }

    /// Answers everyone in the group.
    async fn commit(&mut self, mut group: Vec<Waiting>) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let batches: Vec<&Batch> = group.iter().map(|waiting| &waiting.batch).collect();
            let until = group.iter().map(|waiting| waiting.until).max();
            let until = until.unwrap_or_else(Instant::now);
            let trouble = match self.transaction(&batches, until).await {
                Outcome::Done(answers) => {
                    for (waiting, answer) in group.into_iter().zip(answers) {
                        waiting.answer(answer);
                    }
                    return;
                }
                Outcome::Unknown(trouble) => {
                    tracing::error!(%trouble, "whether a commit was done is not known");
                    for waiting in group {
                        waiting.answer(Err(StoreError::Unsettled));
                    }
                    return;
                }
                Outcome::Undone(trouble) => trouble,
            };
            match trouble.sort() {
                Sort::Passing => {}
                Sort::Refused if group.len() > 1 => {
                    // One batch broke a rule of the tables: alone, each gets its own answer.
                    for waiting in group {
                        Box::pin(self.commit(vec![waiting])).await;
                    }
                    return;
                }
                Sort::Refused | Sort::Outage => {
                    refuse(group, |_| true, &trouble);
                    return;
                }
            }
            let now = Instant::now();
            group = refuse(group, |waiting| waiting.until <= now + backoff, &trouble);
            if group.is_empty() {
                return;
            }
            self.meanwhile(tokio::time::sleep(jittered(backoff))).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn transaction(
        &mut self,
        batches: &[&Batch],
        until: Instant,
    ) -> Outcome<Vec<Result<Committed, StoreError>>> {
        let session = match self.session(until).await {
            Ok(session) => session,
            Err(trouble) => return Outcome::Undone(trouble),
        };
        let streams = std::mem::take(&mut self.streams);
        let prepared = apply::prepare(&session, batches, &streams);
        let mut prepared = match limited(PREPARE_MAX, prepared).await {
            Ok(prepared) => prepared,
            Err(trouble) => {
                self.streams = streams;
                self.undo(session, &trouble).await;
                return Outcome::Undone(trouble);
            }
        };
        if prepared.is_empty() {
            self.streams = streams;
            self.leave(session).await;
            return Outcome::Done(prepared.answers);
        }
        self.mark.number += 1;
        let done = apply::finish(&session, &prepared, self.mark);
        match limited(FINISH_MAX, done).await {
            Ok(()) => {
                self.streams = std::mem::take(&mut prepared.streams);
                self.session = Some(session);
                self.is_done();
                Outcome::Done(prepared.answers)
            }
            Err(trouble) => {
                self.streams = streams;
                match self.outcome(session, trouble).await {
                    Outcome::Done(()) => Outcome::Done(prepared.answers),
                    Outcome::Undone(trouble) => Outcome::Undone(trouble),
                    Outcome::Unknown(trouble) => Outcome::Unknown(trouble),
                }
            }
        }
    }

    async fn work(&mut self, work: &Work, until: Instant) -> Result<u64, StoreError> {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let trouble = match self.work_once(work, until).await {
                Outcome::Done(rows) => return Ok(rows),
                // It may be done: then doing it again changes nothing, or there is less to do.
                Outcome::Undone(trouble) | Outcome::Unknown(trouble) => trouble,
            };
            if trouble.sort() != Sort::Passing || Instant::now() + backoff >= until {
                return Err(trouble.for_caller(work.what()));
            }
            self.meanwhile(tokio::time::sleep(jittered(backoff))).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn work_once(&mut self, work: &Work, until: Instant) -> Outcome<u64> {
        let session = match self.session(until).await {
            Ok(session) => session,
            Err(trouble) => return Outcome::Undone(trouble),
        };
        let step = async {
            session.batch("BEGIN").await?;
            let head = Head::lock(&session).await?;
            work.within(&session, head).await
        };
        let (head, rows) = match limited(FINISH_MAX, step).await {
            Ok(step) => step,
            Err(trouble) => {
                self.undo(session, &trouble).await;
                return Outcome::Undone(trouble);
            }
        };
        if rows == 0 {
            self.leave(session).await;
            return Outcome::Done(0);
        }
        self.mark.number += 1;
        let mark = self.mark;
        let done = async {
            let (saved, marked, committed) = tokio::join!(
                biased;
                head.save(&session),
                mark.leave(&session),
                session.batch("COMMIT"),
            );
            saved.and(marked).and(committed)
        };
        match limited(FINISH_MAX, done).await {
            Ok(()) => {
                self.session = Some(session);
                self.is_done();
                Outcome::Done(rows)
            }
            Err(trouble) => match self.outcome(session, trouble).await {
                Outcome::Done(()) => Outcome::Done(rows),
                Outcome::Undone(trouble) => Outcome::Undone(trouble),
                Outcome::Unknown(trouble) => Outcome::Unknown(trouble),
            },
        }
    }

    /// Asks what became of the last transaction, whose answer was lost or bad.
    async fn outcome(&mut self, session: Session, trouble: Trouble) -> Outcome<()> {
        if trouble.leaves_connection() {
            self.session = Some(session);
        }
        let until = Instant::now() + OUTCOME_MAX;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let asked = async {
                let session = self.session(until).await?;
                let mark = self.mark;
                let found = limited(PREPARE_MAX, mark.was_left(&session)).await?;
                self.session = Some(session);
                Ok::<bool, Trouble>(found)
            };
            match asked.await {
                Ok(true) => {
                    self.is_done();
                    return Outcome::Done(());
                }
                // What came before it is gone, and so is it.
                Err(Trouble::Behind) => return Outcome::Undone(Trouble::Behind),
                Ok(false) => return Outcome::Undone(trouble),
                Err(why) if Instant::now() + backoff >= until => return Outcome::Unknown(why),
                Err(why) => tracing::debug!(%why, "the outcome of a commit is still not known"),
            }
            self.meanwhile(tokio::time::sleep(jittered(backoff))).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Ends a transaction that has failed before its commit.
    async fn undo(&mut self, session: Session, trouble: &Trouble) {
        if trouble.leaves_connection() {
            self.leave(session).await;
        }
    }

    /// Ends a transaction in which nothing was written.
    async fn leave(&mut self, session: Session) {
        if limited(PREPARE_MAX, session.batch("ROLLBACK"))
            .await
            .is_ok()
        {
            self.session = Some(session);
        }
    }

    fn is_done(&mut self) {
        self.done = Some((self.mark.number, Instant::now()));
    }

    /// The connection, made anew when it was lost. The server may then be another one.
    async fn session(&mut self, until: Instant) -> Result<Session, Trouble> {
        if self.behind {
            return Err(Trouble::Behind);
        }
        let place = self.place.clone();
        let kept = self.session.take();
        if let Some(session) = kept.filter(|s| !s.is_closed() && place.is_current(s)) {
            return Ok(session);
        }
        let mark = self.mark;
        let connect = async move {
            let session = connect(&place).await?;
            let last = mark.last(&session).await?;
            Ok((session, last))
        };
        let made = self
            .meanwhile(tokio::time::timeout_at(until, connect))
            .await;
        let (session, last) = made.unwrap_or(Err(Trouble::Silent { limit: AWAY_MAX }))?;
        self.behind = is_behind(last, self.done);
        if self.behind {
            tracing::error!(
                last,
                acknowledged = self.done.map(|(number, _)| number),
                "the database has lost commits that it had acknowledged"
            );
            return Err(Trouble::Behind);
        }
        Ok(session)
    }

    /// Waits for `work`; meanwhile takes in what comes, and gives up what has waited too long.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let first = self.backlog.iter().filter_map(until).min();
            let expire = async {
                match first {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let room = self.backlog.len() < BATCHES_WAITING_MAX;
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = expire => self.expire(),
                message = self.queue.recv(), if room => match message {
                    Some(message) => self.backlog.push_back(message),
                    // Nothing more will come.
                    None => return work.await,
                },
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for message in std::mem::take(&mut self.backlog) {
            match message {
                Message::Commit(waiting) if waiting.until <= now => {
                    waiting.answer(Err(unavailable(
                        "the database is away; nothing was applied",
                    )));
                }
                Message::Work(_, reply, until) if until <= now => {
                    let _ = reply.send(Err(unavailable("the database is away")));
                }
                other => self.backlog.push_back(other),
            }
        }
    }
}

/// Whether the transaction that was acknowledged last is gone.
fn is_behind(last: Option<i64>, done: Option<(i64, Instant)>) -> bool {
    match (last, done) {
        (_, None) => false,
        (Some(last), Some((number, _))) => last < number,
        // Marks of those that have written nothing for a day are deleted.
        (None, Some((_, at))) => at.elapsed() < MARK_KEPT_MIN,
    }
}

fn until(message: &Message) -> Option<Instant> {
    match message {
        Message::Commit(waiting) => Some(waiting.until),
        Message::Work(_, _, until) => Some(*until),
        Message::Close(_) => None,
    }
}

/// Refuses those that `which` names; gives the others.
fn refuse(
    group: Vec<Waiting>,
    which: impl Fn(&Waiting) -> bool,
    trouble: &Trouble,
) -> Vec<Waiting> {
    let mut rest = Vec::new();
    for waiting in group {
        if which(&waiting) {
            waiting.answer(Err(trouble.clone().for_caller("write to the store")));
        } else {
            rest.push(waiting);
        }
    }
    rest
}

async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let outcome = tokio::time::timeout(limit, work).await;
    outcome.unwrap_or(Err(Trouble::Silent { limit }))
}

/// About the bytes that a batch brings.
fn bytes(batch: &Batch) -> usize {
    let of = |op: &Op| match op {
        Op::PutRecord { body, .. } | Op::Append { body, .. } => body.len(),
        Op::InsertTask(task) => task.body.len(),
        Op::Checkpoint { value, .. } | Op::PutMeta { value, .. } => value.len(),
        Op::End { ending, .. } => ending.len(),
        _ => 0,
    };
    batch.ops.iter().map(of).sum()
}
