//! Runs a declared request: reads it back, sends it once, and says what is known afterwards.
//!
//! It must never send a change twice because its answer was lost, and never call a promise (202, 204) a result.

use crate::client::{Call, Client, JSON, Reply};
use crate::declared::{Effect, Look, Planned, Want};
use crate::limits;
use crate::outcome::{Done, Failure, FailureCode, Outcome};
use crate::read_back::{self, Seen};
use crate::reply::{Meaning, Response, Trouble, meaning};
use crate::task::Probe;
use serde_json::{Value, json};

/// A request that changes nothing: its answer is the result.
pub async fn read(client: &Client, planned: &Planned) -> Outcome {
    let call = call(planned, Vec::new());
    let reply = match client.send(&call).await {
        Ok(reply) => reply,
        Err(trouble) => return cancelled_or(client, trouble.of_read()),
    };
    if meaning(reply.response.status, &planned.expect) != Meaning::Taken {
        return client.unexpected(&call, &reply.response).into();
    }
    match result(client, planned, &reply) {
        Ok(result) => Outcome::result(result),
        Err(failure) => failure.into(),
    }
}

/// A request that changes something.
pub async fn change(client: &Client, planned: &Planned) -> Outcome {
    let before = match &planned.look {
        None => Value::Null,
        Some(look) => match read_back::look(client, look, planned.any_content_type).await {
            Ok(before) => before,
            // Nothing was asked of it yet.
            Err(trouble) => return cancelled_or(client, trouble.of_read()),
        },
    };
    if let (Effect::Idempotent, Some(look)) = (planned.effect, &planned.look)
        && look.reached(&Value::Null, &before)
    {
        return Outcome::Done(Done {
            changed: false,
            before: Some(before.clone()),
            after: Some(before),
            result: None,
        });
    }
    if let (
        Some(Look {
            want: Want::Changes,
            pointer,
            path,
            ..
        }),
        Value::Null,
    ) = (&planned.look, &before)
    {
        let at = pointer.as_str();
        let message =
            format!("{path} has nothing at {at:?}, so nothing could tell whether it was done");
        return Failure::refused(message).into();
    }
    let mut own = Vec::new();
    if planned.if_match {
        match etag(client, planned).await {
            Ok(etag) => own.push(("if-match".to_owned(), etag)),
            Err(trouble) => return cancelled_or(client, trouble.of_read()),
        }
    }
    if planned.look.is_some() {
        let value = json!({"request": planned.name, "before": before});
        client
            .io
            .checkpoint(client.secrets.scrub_value(value))
            .await;
    }
    if client.io.cancelled() {
        let why = "cancelled before it was sent".to_owned();
        return Outcome::Cancelled { why };
    }
    let call = call(planned, own);
    let what = format!("{} {}", call.method, call.path);
    let (reply, lost) = match client.send(&call).await {
        Err(Trouble::Failed(failure)) => return failure.into(),
        Err(Trouble::Silent(why) | Trouble::Cut(why) | Trouble::Garbled(why)) => (None, Some(why)),
        Ok(reply) => match meaning(reply.response.status, &planned.expect) {
            Meaning::Not(code) => {
                return reply
                    .response
                    .failure(code, &what, client.io.now_ms())
                    .into();
            }
            Meaning::Unclear => {
                let failure = reply.response.failure(FailureCode::BadReply, &what, 0);
                (Some(reply), Some(failure.message))
            }
            Meaning::Taken => (Some(reply), None),
        },
    };
    settle(client, planned, before, reply, lost).await
}

/// It was sent. `lost`: why its answer does not say that it was taken.
async fn settle(
    client: &Client,
    planned: &Planned,
    before: Value,
    reply: Option<Reply>,
    lost: Option<String>,
) -> Outcome {
    let status = reply.as_ref().map(|r| r.response.status);
    let answer = answer(client, planned, reply.as_ref());
    let Some(look) = &planned.look else {
        return match (lost, status) {
            (Some(why), _) => Outcome::Unknown { why },
            (None, Some(202)) if !planned.expect.contains(&202) => Outcome::Unknown {
                why: format!(
                    "{} {}: 202 says accepted, not done, and no readBack is declared",
                    planned.method, planned.path
                ),
            },
            (None, _) => Outcome::Done(Done {
                changed: true,
                result: answer,
                ..Done::default()
            }),
        };
    };
    let at = format!("{} {}", look.path, look.pointer.as_str());
    // What was so before is no evidence that a lost request did it.
    if let Some(why) = lost
        .as_ref()
        .filter(|_| look.reached(&Value::Null, &before))
        && matches!(look.want, Want::Equals(_))
    {
        let why = format!("{why}; {at} was as wanted before, so it tells nothing");
        return Outcome::Unknown { why };
    }
    let reached = |now: &Value| look.reached(&before, now);
    let until_ms = client.deadline_ms;
    let seen =
        read_back::read_back(client, look, planned.any_content_type, until_ms, reached).await;
    let last = |value: &Option<Value>| match value {
        Some(value) => format!("{at} was last {}", short(value)),
        None => format!("{at} could not be read"),
    };
    match (seen, lost) {
        (Seen::Reached(after), _) => Outcome::Done(Done {
            changed: true,
            before: Some(before),
            after: Some(after),
            result: answer,
        }),
        (Seen::NotInTime(value) | Seen::Cancelled(value), Some(why)) => Outcome::Unknown {
            why: format!("{why}; {}", last(&value)),
        },
        (Seen::Cancelled(value), None) => Outcome::Unknown {
            why: format!("cancelled after it was accepted; {}", last(&value)),
        },
        (Seen::NotInTime(value), None) => {
            let status = status.unwrap_or_default();
            let message = format!(
                "{} {}: answered {status}, and did not come true in time; {}",
                planned.method,
                planned.path,
                last(&value)
            );
            // Not being so is known only where it was looked at.
            match (planned.effect, value) {
                (Effect::Idempotent, Some(_)) => Failure::new(FailureCode::Timeout, message).into(),
                _ => Outcome::Unknown { why: message },
            }
        }
        (Seen::Stopped(failure), None) if planned.effect == Effect::Idempotent => failure.into(),
        (Seen::Stopped(failure), lost) => {
            let sent = lost.unwrap_or_else(|| "it was accepted".to_owned());
            let why = format!("{sent}; reading back was refused: {}", failure.message);
            Outcome::Unknown { why }
        }
    }
}

/// Tells whether a lost attempt took place: result `{"happened": true | false | null}`.
pub async fn probe(client: &Client, planned: &Planned, lost: Option<&Probe>) -> Outcome {
    let Some(look) = &planned.look else {
        return Failure::refused("the request declares no readBack").into();
    };
    let before = lost
        .and_then(|lost| lost.checkpoint.as_ref())
        .filter(|mark| mark.get("request").and_then(Value::as_str) == Some(&planned.name))
        .and_then(|mark| mark.get("before"));
    let (Some(lost), Some(before)) = (lost, before) else {
        // Without a mark nothing had been sent; but a mark may be lost, too.
        return Outcome::result(json!({"happened": null}));
    };
    let until_ms = lost.since_ms.saturating_add(look.settle_ms);
    let reached = |now: &Value| look.reached(before, now);
    let waits = until_ms.min(client.deadline_ms);
    match read_back::read_back(client, look, planned.any_content_type, waits, reached).await {
        Seen::Reached(after) => Outcome::result(json!({"happened": true, "after": after})),
        // "No" only by a look after its time to come true is over.
        Seen::NotInTime(_) if client.io.now_ms() >= until_ms => {
            match read_back::look(client, look, planned.any_content_type).await {
                Ok(now) => {
                    let happened = look.reached(before, &now);
                    Outcome::result(json!({"happened": happened, "after": now}))
                }
                Err(_) => Outcome::result(json!({"happened": null})),
            }
        }
        Seen::NotInTime(_) => Outcome::result(json!({"happened": null})),
        Seen::Cancelled(_) => Outcome::Cancelled {
            why: "cancelled while looking".to_owned(),
        },
        Seen::Stopped(failure) => failure.into(),
    }
}

fn call(planned: &Planned, own: Vec<(String, String)>) -> Call<'_> {
    let mut headers = planned.headers.clone();
    headers.extend(own);
    Call {
        method: &planned.method,
        path: &planned.path,
        headers,
        accept: JSON,
        body: planned.body.clone(),
        reads: planned.effect == Effect::Read,
        expect: &planned.expect,
    }
}

/// The ETag of what is to be changed, exactly as given.
async fn etag(client: &Client, planned: &Planned) -> Result<String, Trouble> {
    let call = Call::get(&planned.path, &[], JSON);
    let reply = client.get(&call).await?;
    let etag = reply.response.header("etag").filter(|e| !e.is_empty());
    let none = || Failure::refused(format!("ifMatch: GET {} gives no ETag", planned.path));
    Ok(etag.ok_or_else(none)?.to_owned())
}

/// What a read gives back.
fn result(client: &Client, planned: &Planned, reply: &Reply) -> Result<Value, Failure> {
    let mut result = json!({"httpStatus": reply.response.status});
    if reply.response.body.is_empty() {
        return Ok(result);
    }
    let body = match client.json(reply, planned.any_content_type) {
        Ok(body) => body,
        Err(_) if planned.pick.is_none() && is_text(&reply.response) => {
            let text = reply.response.text(client.config.response_bytes_max);
            Value::String(text.map_err(|e| Failure::bad_reply(format!("{}: {e}", reply.path)))?)
        }
        Err(failure) => return Err(failure),
    };
    let body = match &planned.pick {
        None => body,
        Some(pick) if pick.wildcards() == 0 => pick.one(&body).cloned().unwrap_or_default(),
        Some(pick) => pick
            .all(&body)
            .0
            .into_iter()
            .map(|m| m.value.clone())
            .collect(),
    };
    if body.to_string().len() > limits::RESULT_BYTES_MAX {
        let most = limits::RESULT_BYTES_MAX;
        let message = format!(
            "{}: a result has at most {most} bytes; pick takes a part",
            reply.path
        );
        return Err(Failure::bad_reply(message));
    }
    result["body"] = body;
    Ok(result)
}

/// What a change gives back: whatever can be shown, never a reason to fail.
fn answer(client: &Client, planned: &Planned, reply: Option<&Reply>) -> Option<Value> {
    let reply = reply?;
    let bare = json!({"httpStatus": reply.response.status});
    Some(result(client, planned, reply).unwrap_or(bare))
}

fn is_text(response: &Response) -> bool {
    let media = response.media_type();
    media.is_none_or(|m| m.starts_with("text/plain"))
}

fn cancelled_or(client: &Client, failure: Failure) -> Outcome {
    match client.io.cancelled() {
        true => Outcome::Cancelled {
            why: "cancelled before anything was changed".to_owned(),
        },
        false => failure.into(),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
