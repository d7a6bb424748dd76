//! Whether the database can be used, and what keeps it from it. Changes nothing.

use crate::error::{Trouble, told};
use crate::replication;
use crate::schema::{self, SERVER_MIN, VERSION};
use crate::session::{Place, Role, Session};
use crate::settings::{CONNECTIONS_MIN, Settings};
use futures::future::join_all;
use sengu_store::Check;
use tokio_postgres::error::SqlState;

const SERVER: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
     current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit'), \
     current_setting('full_page_writes'), pg_is_in_recovery(), current_user::text, current_database()::text, \
     coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), \
     current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, \
     (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int, \
     current_setting('synchronous_standby_names')";
const RIGHTS: &str = "SELECT has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL, \
     coalesce(has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'), false) \
     FROM (SELECT $1::text AS name) w LEFT JOIN pg_namespace n ON n.nspname = w.name";

const PROMOTE: &str = "name the primary server, or promote a standby";

/// What `sengu config check` says about these settings; ends at the first thing without which nothing else can be seen.
pub async fn check(settings: &Settings) -> Vec<Check> {
    let place = match Place::new(settings) {
        Ok(place) => place,
        Err(trouble) => {
            let hint = "postgres://user@host:port/database?sslmode=require";
            return vec![Check::bad("settings", trouble.to_string(), hint)];
        }
    };
    let (session, mut found) = match place.servers.len() {
        1 => match place.ask(0, Role::Plain).await {
            Ok(asked) => (
                asked.session,
                vec![Check::good("reach", place.label.clone())],
            ),
            Err(trouble) => return not_in(&place, &trouble),
        },
        _ => match one_of_several(&place).await {
            Ok(found) => found,
            Err(found) => return found,
        },
    };
    match look(settings, &place, &session, &mut found).await {
        Ok(()) => {}
        Err(trouble) => found.push(Check::bad(
            "questions",
            told(&trouble),
            "the server let us in and then did not answer: see its log",
        )),
    }
    found
}

/// Says of each server what it is. Without one that takes writes nothing else is looked at.
async fn one_of_several(place: &Place) -> Result<(Session, Vec<Check>), Vec<Check>> {
    let numbers = 0..place.servers.len();
    let asked = join_all(numbers.map(|server| place.ask(server, Role::Plain))).await;
    let mut found = Vec::new();
    let (mut writers, mut stand_by) = (0, 0);
    let mut first = None;
    for (server, asked) in place.servers.iter().zip(asked) {
        let label = &server.label;
        found.push(match asked {
            Ok(asked) if asked.reads_only => {
                stand_by += 1;
                Check::good("server", format!("{label} stands by"))
            }
            Ok(_) => {
                writers += 1;
                Check::good("server", format!("{label} takes writes"))
            }
            Err(trouble) => {
                let text = format!("{label}: {}", told(&trouble));
                first = first.or(Some(trouble));
                Check::poor("server", text)
            }
        });
    }
    if writers > 1 {
        found.push(Check::poor(
            "writes",
            "more than one server takes writes: the one that was promoted last is used; the others must not run",
        ));
    }
    if writers == 0 {
        match first {
            // What keeps it from any of them is most likely what is to be mended.
            Some(trouble) if stand_by == 0 => found.extend(not_in(place, &trouble)),
            _ => found.push(Check::bad(
                "writes",
                "no server that is reached takes writes",
                PROMOTE,
            )),
        }
        return Err(found);
    }
    match place.connect(Role::Plain).await {
        Ok(session) => {
            found.insert(0, Check::good("reach", place.label.clone()));
            Ok((session, found))
        }
        Err(trouble) => {
            found.extend(not_in(place, &trouble));
            Err(found)
        }
    }
}

/// Why there is no connection.
fn not_in(place: &Place, trouble: &Trouble) -> Vec<Check> {
    let text = told(trouble);
    let reach = |hint: &str| vec![Check::bad("reach", text.clone(), hint)];
    let Trouble::Engine(error) = trouble else {
        return reach(
            "nothing answers there in time: is the address right, and does a firewall drop it?",
        );
    };
    let mut found = vec![Check::good("reach", place.label.clone())];
    let Some(said) = error.as_db_error() else {
        let kind = error.to_string();
        if kind.contains("TLS") {
            let hint = "does the server speak TLS (ssl = on), is its certificate for this host name, and is its issuer \
                 trusted (the certificates of the system, or the ones that are named)?";
            found.push(Check::bad("tls", text, hint));
        } else if kind.contains("authentication") || text.contains("password missing") {
            found.push(Check::bad("sign in", text, "give the password of the user"));
        } else {
            return reach(
                "is PostgreSQL running there, and does it listen on that address and port?",
            );
        }
        return found;
    };
    let code = said.code();
    let (what, hint) = if *code == SqlState::INVALID_PASSWORD {
        ("sign in", "is the password right?")
    } else if code.code().starts_with("28") {
        (
            "sign in",
            "does the user exist, and does pg_hba.conf let it in from here?",
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        (
            "database",
            "create it: createdb --encoding UTF8 --owner <user> <name>",
        )
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        (
            "connections",
            "raise max_connections, or let others use fewer",
        )
    } else if *code == SqlState::CANNOT_CONNECT_NOW {
        ("reach", "the server is starting or stopping: try again")
    } else {
        ("sign in", "see the log of the server")
    };
    found.retain(|check| check.what != what);
    found.push(Check::bad(what, said.message().to_owned(), hint));
    found
}

async fn look(
    settings: &Settings,
    place: &Place,
    session: &Session,
    found: &mut Vec<Check>,
) -> Result<(), Trouble> {
    let rows = session.client.query(SERVER, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let (number, version): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    let (user, database): (String, String) = (row.try_get(7)?, row.try_get(8)?);
    let secured = if row.try_get(9)? {
        "TLS"
    } else {
        "plain, which stays on this machine"
    };
    found.push(Check::good("tls", secured));
    found.push(Check::good("sign in", user.clone()));
    if u32::try_from(number).unwrap_or(0) < SERVER_MIN {
        found.push(Check::bad("version", version, "13 or later is needed"));
    } else {
        found.push(Check::good("version", version));
    }
    let encoding: String = row.try_get(2)?;
    if encoding == "UTF8" {
        found.push(Check::good("database", database.clone()));
    } else {
        let hint = "create another one with ENCODING 'UTF8' TEMPLATE template0";
        found.push(Check::bad(
            "database",
            format!("{database} has encoding {encoding}"),
            hint,
        ));
    }
    if row.try_get(6)? {
        let what = "this server is a standby that only reads";
        found.push(Check::bad("writes", what, PROMOTE));
    }
    let off = |column, what: &str| {
        let value: String = row.try_get(column)?;
        Ok::<_, Trouble>((value == "off").then(|| format!("{what} is off")))
    };
    let lost = [
        off(3, "fsync")?,
        off(5, "full_page_writes")?,
        off(4, "synchronous_commit")?,
    ];
    let lost: Vec<String> = lost.into_iter().flatten().collect();
    found.push(if lost.is_empty() {
        Check::good("durability", "what was committed is on disk")
    } else {
        let lost = lost.join(", ");
        Check::poor(
            "durability",
            format!("{lost}: a crash may lose what sengu has promised"),
        )
    });
    if place.servers.len() > 1 {
        found.push(
            match replication::waits(row.try_get(4)?, row.try_get(12)?) {
                Ok(names) => Check::good("failover", format!("commits wait for standbys: {names}")),
                Err(why) => Check::poor(
                    "failover",
                    format!(
                        "{why}: a failover may lose the last commits that sengu has acknowledged"
                    ),
                ),
            },
        );
    }
    connections(settings, row.try_get(10)?, row.try_get(11)?, found);
    rights(place, session, &user, &database, found).await
}

fn connections(settings: &Settings, most: i32, used: i32, found: &mut Vec<Check>) {
    let wanted = i64::from(settings.connections_max.max(CONNECTIONS_MIN));
    // One of those that are in use is ours.
    let free = i64::from(most) - i64::from(used) + 1;
    let text = format!("{free} of {most} are free, {wanted} are wanted");
    found.push(if free >= wanted {
        Check::good("connections", text)
    } else {
        Check::poor(
            "connections",
            format!("{text}: calls will wait for one another"),
        )
    });
}

async fn rights(
    place: &Place,
    session: &Session,
    user: &str,
    database: &str,
    found: &mut Vec<Check>,
) -> Result<(), Trouble> {
    let schema = &place.schema_plain;
    let rows = session.client.query(RIGHTS, &[schema]).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let (create, there, own): (bool, bool, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let name = &place.schema;
    found.push(match (there, own, create) {
        (true, true, _) => {
            let version = schema::look(place, session).await?;
            let text = format!("{schema} has version {}", version.version);
            if !version.is_known() {
                let hint = format!("this sengu knows up to version {VERSION}: use a newer one");
                Check::bad("schema", text, hint)
            } else if version.version == 0 {
                Check::good(
                    "schema",
                    format!("{schema} is there and empty; tables are made at the first start"),
                )
            } else if version.version < VERSION {
                Check::good(
                    "schema",
                    format!("{text}; it goes to {VERSION} at the next start"),
                )
            } else {
                Check::good("schema", text)
            }
        }
        (false, _, true) => Check::good(
            "schema",
            format!("{schema} will be made at the first start"),
        ),
        (true, false, _) => Check::bad(
            "schema",
            format!("{user} may not use schema {schema}"),
            format!("ALTER SCHEMA {name} OWNER TO ..."),
        ),
        (false, _, false) => Check::bad(
            "schema",
            format!("{user} may not create schema {schema} in {database}"),
            format!(
                "CREATE SCHEMA {name} AUTHORIZATION ..., or GRANT CREATE ON DATABASE ... TO ..."
            ),
        ),
    });
    Ok(())
}
