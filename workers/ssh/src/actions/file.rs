//! `file.put` and `file.get`: whole files, by content.
//!
//! A file is never seen half-written: the content goes beside it, its digest is checked on the host, it is synced
//! and renamed. A lost answer is settled by asking again, since putting the same content twice is the same as once.

use super::{Call, call};
use crate::command::{FILE_GET, FILE_PUT};
use crate::host::Host;
use crate::kept::Kept;
use crate::run::OnStop;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sengu_sdk::{Context, Done, Effect, Failure, FailureCode, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const GET_BYTES_DEFAULT: u64 = 256 << 10;
/// Text that is longer than this as a JSON string goes as base64, which never grows that much: a result is at most
/// 1 MiB.
const JSON_TEXT_BYTES_MAX: usize = 900_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    path: String,
    content: Option<String>,
    content_base64: Option<String>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Get {
    path: String,
    max_bytes: Option<u64>,
}

pub async fn put(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let params: Put = task.params()?;
    let refused = |why: String| Failure::new(FailureCode::Refused, why);
    let content = match (params.content, params.content_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => BASE64
            .decode(text.trim())
            .map_err(|e| refused(format!("contentBase64: {e}")))?,
        _ => {
            return Err(refused(
                "one of content and contentBase64 is wanted".to_owned(),
            ));
        }
    };
    let digest = hex(&Sha256::digest(&content));
    if let Some(wanted) = params.sha256.filter(|wanted| *wanted != digest) {
        return Err(refused(format!(
            "the content's sha256 is {digest}, not {wanted}; nothing was sent"
        )));
    }
    // As stat prints it: without leading zeros.
    let mode = match params.mode {
        Some(text) => {
            let mode = u32::from_str_radix(&text, 8)
                .map_err(|_| refused(format!("mode {text:?} is not octal")))?;
            format!("{mode:o}")
        }
        None => String::new(),
    };
    let args = [
        params.path.as_str(),
        &digest,
        &mode,
        params.owner.as_deref().unwrap_or_default(),
        params.group.as_deref().unwrap_or_default(),
    ];
    let reply = call(
        task,
        kept,
        host,
        Call {
            script: &FILE_PUT,
            args: &args,
            stdin: &content,
            effect: Effect::Idempotent,
            on_stop: OnStop::Kill,
        },
    )
    .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(outcome) => return Ok(outcome),
    };
    if let Some(refusal) = reply.refusal(host) {
        return Ok(refusal);
    }
    let exit = match reply.exit(host, Effect::Idempotent) {
        Ok(exit) => exit,
        Err(outcome) => return Ok(outcome),
    };
    let (Some(before), Some(after), Some(changed)) = (
        reply.line("before"),
        reply.line("after"),
        reply.line("changed"),
    ) else {
        let why = if reply.line("short").is_some() {
            "the content did not arrive whole; the file is as it was".to_owned()
        } else {
            format!("exit code {exit}, not understood: {}", reply.last_words())
        };
        return Err(Failure::new(
            FailureCode::BadReply,
            format!("{}: {why}", host.at()),
        ));
    };
    let after = state(&after);
    if after["sha256"] != digest {
        return Err(Failure::new(
            FailureCode::BadReply,
            format!(
                "{}: {} has sha256 {} right after it was put: somebody else writes it too",
                host.at(),
                params.path,
                after["sha256"]
            ),
        ));
    }
    Ok(Outcome::Done(Done {
        changed: changed == "yes" || reply.repeated,
        before: Some(state(&before)),
        after: Some(after),
        result: None,
    }))
}

/// `sha256 mode owner group`, or `-` for no file.
fn state(line: &str) -> Value {
    let fields: Vec<&str> = line.split_whitespace().collect();
    match fields[..] {
        [sha256, mode, owner, group] => {
            json!({ "exists": true, "sha256": sha256, "mode": octal(mode), "owner": owner, "group": group })
        }
        _ => json!({ "exists": false }),
    }
}

fn octal(mode: &str) -> String {
    format!("{mode:0>4}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub async fn get(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let params: Get = task.params()?;
    let most = params.max_bytes.unwrap_or(GET_BYTES_DEFAULT).to_string();
    let reply = call(
        task,
        kept,
        host,
        Call {
            script: &FILE_GET,
            args: &[&params.path, &most],
            stdin: &[],
            effect: Effect::Read,
            on_stop: OnStop::Kill,
        },
    )
    .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(outcome) => return Ok(outcome),
    };
    // The bytes of the file may hold anything, so only what is before them is searched for our words.
    let Some((head, content)) = split_file(&reply.stdout) else {
        return Ok(match reply.refusal(host) {
            Some(refusal) => refusal,
            None => match reply.exit(host, Effect::Read) {
                Err(outcome) => outcome,
                Ok(exit) => Outcome::failed(
                    FailureCode::BadReply,
                    format!(
                        "{}: exit code {exit}, not understood: {}",
                        host.at(),
                        reply.last_words()
                    ),
                ),
            },
        });
    };
    match reply.exit(host, Effect::Read) {
        Ok(0) => {}
        Ok(exit) => {
            let why = format!("{}: exit code {exit}: {}", host.at(), reply.last_words());
            return Err(Failure::new(FailureCode::BadReply, why));
        }
        Err(outcome) => return Ok(outcome),
    }
    let mut result = json!({
        "path": params.path,
        "bytes": content.len(),
        "sha256": hex(&Sha256::digest(content)),
        "mode": octal(head[1]),
        "owner": head[2],
        "group": head[3],
    });
    match std::str::from_utf8(content) {
        Ok(text) if text.len() + escapes(text) <= JSON_TEXT_BYTES_MAX && !text.contains('\0') => {
            result["content"] = json!(text);
        }
        _ => result["contentBase64"] = json!(BASE64.encode(content)),
    }
    Ok(Outcome::result(false, result))
}

fn escapes(text: &str) -> usize {
    let cost = |b: u8| match b {
        b'\n' | b'\t' | b'\r' | b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.bytes().map(cost).sum()
}

/// Splits at the line `@@file bytes mode owner group`.
fn split_file(stdout: &[u8]) -> Option<([&str; 4], &[u8])> {
    const MARK: &[u8] = b"@@file ";
    let at_line = |at: usize| at == 0 || stdout.get(at - 1) == Some(&b'\n');
    let start = (0..stdout.len().saturating_sub(MARK.len()))
        .find(|at| at_line(*at) && stdout[*at..].starts_with(MARK))?;
    let rest = &stdout[start + MARK.len()..];
    let end = rest.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&rest[..end]).ok()?;
    let fields: Vec<&str> = head.split_whitespace().collect();
    Some((fields.try_into().ok()?, &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_follows_its_line_and_noise_before_it_is_ignored() {
        let table: [(&[u8], Option<&[u8]>); 5] = [
            (b"@@file 3 644 root root\nabc", Some(b"abc")),
            (
                b"Welcome @@file!\n@@file 2 644 a b\n@@file 1 1 1 1\n",
                Some(b"@@file 1 1 1 1\n"),
            ),
            (b"@@file 0 600 a b\n", Some(b"")),
            (b"@@file 0 600 a\n", None),
            (b"", None),
        ];
        for (stdout, wanted) in table {
            assert_eq!(split_file(stdout).map(|(_, c)| c), wanted);
        }
    }

    #[test]
    fn states_have_modes_of_four_digits() {
        assert_eq!(
            state("aa 644 root staff"),
            json!({"exists": true, "sha256": "aa", "mode": "0644", "owner": "root", "group": "staff"})
        );
        assert_eq!(state("-"), json!({"exists": false}));
    }
}
