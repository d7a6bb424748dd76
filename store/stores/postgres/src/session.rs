//! One connection, set up so that nothing on it can hold up others for long, with its prepared statements.

use crate::error::Trouble;
use crate::servers::{Lineage, Server, Shared};
use crate::settings::Settings;
use crate::tls::Tls;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// A transaction that its client leaves open is ended by the server after this: it may hold the lock of `head`, and
/// its client may be paused or gone.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(2);
/// Longer than a transaction that was left open can hold the lock, shorter than a caller's patience.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(4);
/// The largest steps (100,000 held tasks of a run at once) take a few seconds on a slow disk.
const STATEMENT_MAX: Duration = Duration::from_secs(30);
/// The server gives up a client that acknowledges nothing, even while it writes to it.
const SERVER_USER_TIMEOUT: Duration = Duration::from_secs(5);

pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Where connections go to, ready to use.
pub struct Place {
    /// At least one.
    pub servers: Vec<Server>,
    pub in_use: Shared,
    pub tls: Tls,
    /// Quoted.
    pub schema: String,
    pub schema_plain: String,
    /// For people.
    pub label: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Plans are the same for every size of the tables: all statements walk indexes.
    Store,
    /// For migrations and questions about the server.
    Plain,
}

impl Place {
    pub fn new(settings: &Settings) -> Result<Place, Trouble> {
        Ok(Place {
            servers: Server::all(settings)?,
            in_use: Shared::default(),
            tls: Tls::new(settings.ca_pem.as_deref())?,
            schema: settings.schema_quoted()?,
            schema_plain: settings.schema.clone(),
            label: settings.place(),
        })
    }

    /// Set after sign-in, not as options of it: a pooler in between would refuse those.
    pub fn setup(&self, role: Role) -> String {
        let mut text = format!(
            "SET search_path = {}, pg_temp; SET client_min_messages = warning; \
             SET idle_in_transaction_session_timeout = {}; SET lock_timeout = {}; \
             SET statement_timeout = {}; SET tcp_user_timeout = {}; \
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; \
             SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;",
            self.schema,
            IDLE_IN_TRANSACTION_MAX.as_millis(),
            LOCK_WAIT_MAX.as_millis(),
            STATEMENT_MAX.as_millis(),
            SERVER_USER_TIMEOUT.as_millis(),
        );
        if role == Role::Store {
            text.push_str(
                "SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = off; \
                 SET enable_bitmapscan = off; SET enable_sort = off; SET enable_hashjoin = off; \
                 SET enable_mergejoin = off; SET max_parallel_workers_per_gather = 0;",
            );
        }
        text
    }
}

/// One connection. Calls made at the same time are sent one behind the other without waiting.
pub struct Session {
    pub client: Client,
    /// None where there is one server, or it does not tell.
    pub lineage: Option<Lineage>,
    statements: Mutex<HashMap<String, Statement>>,
    /// What is not prepared yet is a defect.
    fixed: bool,
}

impl Session {
    pub fn new(client: Client, lineage: Option<Lineage>) -> Session {
        Session {
            client,
            lineage,
            statements: Mutex::default(),
            fixed: false,
        }
    }

    /// The statement, prepared when it is first used.
    pub async fn statement(&self, sql: &str) -> Result<Statement, Trouble> {
        if let Some(found) = self.statements.lock().get(sql) {
            return Ok(found.clone());
        }
        if self.fixed {
            return Err(Trouble::Odd(format!("not prepared: {sql}")));
        }
        let made = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql.to_owned(), made.clone());
        Ok(made)
    }

    /// Prepares all statements that will ever be sent, so that each is sent at once, in the order of the calls.
    pub async fn fix(&mut self, all: impl Iterator<Item = &str>) -> Result<(), Trouble> {
        let made = futures::future::join_all(all.map(|sql| self.statement(sql))).await;
        for statement in made {
            statement?;
        }
        self.fixed = true;
        Ok(())
    }

    pub async fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Trouble> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Trouble> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    pub async fn batch(&self, sql: &str) -> Result<(), Trouble> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
