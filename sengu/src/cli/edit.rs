//! `sengu edit`: one record in an editor; a change by somebody else meanwhile is never overwritten.

use super::Context;
use super::nouns::{Noun, object};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::output::{self, say};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Change one record in an editor
///
/// Opens $VISUAL or $EDITOR (else vi). What the server refuses can be corrected at once; a change by somebody
/// else meanwhile is shown and never overwritten.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// KIND/NAME
    #[arg(required = true, num_args = 1..=2, value_name = "KIND/NAME")]
    what: Vec<String>,
}

/// Rounds of editing after refusals.
const ROUNDS_MAX: u32 = 20;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (noun, name) = object(&args.what)?;
    let client = context.client()?;
    if matches!(noun, Noun::Task | Noun::Run | Noun::Worker | Noun::Wee) {
        bail!(
            "a {} is not declared by people, so it cannot be edited",
            noun.lower()
        );
    }
    let path = format!(
        "/v1/records/{}/{}",
        noun.kind(),
        crate::client::encode(&name)
    );
    let mut record: Value = client.get(&path, &[]).await?;
    let mut text = editable(&record)?;
    let mut note = String::new();
    let file = TemporaryFile::new(&name)?;
    for _ in 0..ROUNDS_MAX {
        let shown = format!("{}{text}", comment(&note));
        file.write(&shown)?;
        open_editor(&file.path)?;
        let edited = file.read()?;
        let body = strip_comments(&edited);
        if body.trim().is_empty() || body == strip_comments(&text) && note.is_empty() {
            say("nothing changed");
            return Ok(Exit::Ok);
        }
        text.clone_from(&body);
        let sent = match serde_saphyr::from_str::<Value>(&body) {
            Ok(changed) => put(&client, &path, &record, changed).await.map_err(Some),
            Err(e) => {
                note = format!("not YAML: {e}");
                Err(None)
            }
        };
        match sent {
            Ok(()) => {
                output::print_line(&format!("{}/{} edited", noun.lower(), output::safe(&name)));
                return Ok(Exit::Ok);
            }
            Err(None) => {}
            Err(Some(ClientError::Problem(p))) if p.status == 409 => {
                let theirs: Value = client.get(&path, &[]).await?;
                note = format!(
                    "Somebody changed this record meanwhile. Below is your text; now it is:\n{}\nSave again to put yours in its place.",
                    editable(&theirs)?
                );
                record = theirs;
            }
            Err(Some(ClientError::Problem(p))) if matches!(p.status, 400 | 413 | 422) => {
                note.clone_from(&p.detail);
                for fault in p.errors.iter().filter(|f| !p.detail.contains(&f.message)) {
                    note.push_str(&format!("\n{}: {}", fault.place, fault.message));
                }
            }
            Err(Some(e)) => return Err(e.into()),
        }
        // Without a person an editor that refuses to change would go round for ever.
        if super::ask(&format!(
            "{}\nedit again?",
            note.lines().next().unwrap_or_default()
        )) != Some(true)
        {
            let kept = file.keep();
            bail!("{note}\nyour text is kept in {}", kept.display());
        }
    }
    bail!("still refused after {ROUNDS_MAX} rounds")
}

async fn put(
    client: &Client,
    path: &str,
    from: &Value,
    mut changed: Value,
) -> Result<(), ClientError> {
    // The revision that was shown: the server refuses when it is no longer the newest.
    if let Some(metadata) = changed.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["revision", "uid", "createdAt"] {
            if let Some(value) = from.pointer(&format!("/metadata/{key}")) {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
    }
    client.put::<Value>(path, &changed).await.map(|_| ())
}

/// What people may change.
fn editable(record: &Value) -> anyhow::Result<String> {
    let mut record = record.clone();
    if let Some(map) = record.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = record.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["revision", "uid", "createdAt"] {
            metadata.remove(key);
        }
    }
    output::to_yaml(&record)
}

fn comment(note: &str) -> String {
    let mut out = String::from("# Save and leave to apply; leave without a change to give up.\n");
    for line in note.lines() {
        out.push_str(&format!("# {}\n", output::safe(line)));
    }
    out
}

fn strip_comments(text: &str) -> String {
    let head = text.lines().take_while(|l| l.starts_with('#')).count();
    text.lines().skip(head).map(|l| format!("{l}\n")).collect()
}

fn open_editor(path: &Path) -> anyhow::Result<()> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    // Through a shell, as git does: EDITOR may carry arguments. The path is an argument, never part of the text.
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status()
        .with_context(|| format!("start editor {editor:?}"))?;
    if !status.success() {
        bail!("editor {editor:?} ended with {status}; nothing was sent");
    }
    Ok(())
}

/// A file only the caller can read, removed in the end unless kept.
struct TemporaryFile {
    path: PathBuf,
    kept: std::cell::Cell<bool>,
}

impl TemporaryFile {
    fn new(name: &str) -> anyhow::Result<TemporaryFile> {
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random).context("read random bytes")?;
        let random: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = std::env::temp_dir().join(format!("sengu-edit-{name}-{random}.yaml"));
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        Ok(TemporaryFile {
            path,
            kept: std::cell::Cell::new(false),
        })
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let mut file = std::fs::File::create(&self.path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    fn read(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.path).with_context(|| format!("read {}", self.path.display()))
    }

    fn keep(&self) -> PathBuf {
        self.kept.set(true);
        self.path.clone()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.kept.get() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
