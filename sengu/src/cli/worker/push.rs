//! `sengu worker push`: puts a version of a worker into a sengu that runs. Nothing is moved to it: see promote.

use super::image::Image;
use crate::cli::Context;
use crate::cli::nouns::Noun;
use crate::cli::views::{number, text};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg, Paint, Tone, say};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sengu_model::problem::{Code, Problem};
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Push a version of a worker into a sengu that runs
///
/// PATH is a folder with worker.toml, a WebAssembly component, or an archive of a container image (docker save, OCI);
/// the latter two take their worker.toml from --manifest, or from beside them. Nothing is restarted and nothing is
/// sent to the new version until it is promoted, except that the first version of a new kind drives its targets at once.
///
/// Example: sengu worker push ./redfish-1.5.0
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder, .wasm component or image archive
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// worker.toml of a single file
    #[arg(long, value_name = "worker.toml")]
    manifest: Option<PathBuf>,
    /// Check and pack, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: FormatArg,
}

/// Bytes that are packed before somebody takes them.
const PART_BYTES: usize = 256 << 10;
/// Parts packed ahead of the network.
const PARTS_AHEAD_MAX: usize = 4;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if args.manifest.is_some() && args.paths.len() > 1 {
        bail!("--manifest goes with one PATH");
    }
    // All are looked at before any is sent.
    let mut images = Vec::new();
    for path in &args.paths {
        let image = Image::read(path, args.manifest.as_deref())?;
        let name = image.name();
        if images
            .iter()
            .any(|(other, _): &(String, Image)| *other == name)
        {
            bail!(
                "{} is {name} too: one PATH for each version",
                path.display()
            );
        }
        images.push((name, image));
    }
    let mut answers = Vec::new();
    for (name, image) in images {
        let pushed = push(args, context, image)
            .await
            .with_context(|| format!("push {}", output::safe(&name)))?;
        match args.output.format {
            Format::Table | Format::Wide => tell(&pushed),
            Format::Name => output::print_line(&format!("worker/{}", output::safe(&name))),
            Format::Json | Format::Yaml => answers.push(pushed),
        }
    }
    if !answers.is_empty() {
        output::print_value(args.output.format, &answers)?;
    }
    Ok(Exit::Ok)
}

async fn push(args: &Args, context: &Context, image: Image) -> anyhow::Result<Value> {
    // Packed twice rather than kept: an image can be greater than memory, and than what is free for a temporary file.
    let (image, bytes, digest) = tokio::task::spawn_blocking(move || {
        let (_, bytes, digest) = image.pack(io::sink())?;
        anyhow::Ok((image, bytes, digest))
    })
    .await??;
    let name = image.name();
    let about = |created: bool| {
        json!({"name": name, "kind": image.manifest.name, "version": image.manifest.version,
            "digest": digest, "bytes": bytes, "created": created, "first": false})
    };
    if args.dry_run {
        let mut about = about(false);
        about["dryRun"] = json!(true);
        return Ok(about);
    }
    let client = context.client()?;
    // What is there already need not travel, and who may not push is told before anything does.
    let known: Result<Value, _> = client.get(&Noun::Worker.path(&name), &[]).await;
    match known {
        Ok(known) if text(&known, "/status/digest") == digest => return Ok(about(false)),
        Ok(known) => {
            let digest = text(&known, "/status/digest");
            let what = format!("{name} is known with other bytes ({digest})");
            let problem = Problem::new(Code::VersionExists, what)
                .hint("a version never changes: give the new one a new number in worker.toml");
            return Err(ClientError::Problem(Box::new(problem)).into());
        }
        Err(ClientError::Problem(p)) if p.status == 404 => {}
        Err(e) => return Err(e.into()),
    }
    send(&client, image, bytes, &digest).await
}

async fn send(client: &Client, image: Image, bytes: u64, digest: &str) -> anyhow::Result<Value> {
    let bar = bar(bytes);
    let (to, mut from) = mpsc::channel(PARTS_AHEAD_MAX);
    let packing = tokio::task::spawn_blocking(move || {
        let parts = Parts {
            to,
            buffer: Vec::with_capacity(PART_BYTES),
        };
        let (mut parts, ..) = image.pack(parts)?;
        anyhow::Ok(parts.flush()?)
    });
    let shown = bar.clone();
    let parts = futures::stream::poll_fn(move |context| {
        from.poll_recv(context).map(|part: Option<Bytes>| {
            let part = part?;
            shown.inc(part.len() as u64);
            Some(Ok(part))
        })
    });
    let query = [("digest", digest)];
    let answer = client.upload::<Value>("/v1/workers", &query, parts).await;
    bar.finish_and_clear();
    match (answer, packing.await?) {
        (Ok(answer), _) => Ok(answer),
        // Whatever the server said of half an image: the cause is here.
        (Err(_), Err(packing)) if !is_cut_off(&packing) => Err(packing),
        (Err(error), _) => Err(error.into()),
    }
}

/// Whether packing ended because nobody took what was packed.
fn is_cut_off(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Gives what is written to the network, a part at a time, as fast as it is taken.
struct Parts {
    to: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES));
        let sent = self.to.blocking_send(part.into());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn bar(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let painted = if Paint::stderr().on {
        "{bar:30.green/dim}"
    } else {
        "{bar:30}"
    };
    let template = format!("{painted} {{bytes}}/{{total_bytes}}  {{bytes_per_sec}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar
}

/// `worker/redfish@1.5.0 pushed`, and what comes next.
fn tell(pushed: &Value) {
    let (done, next) = sentences(pushed);
    output::print_line(&done);
    if let Some(next) = next {
        say(&Paint::stderr().text(Tone::Dim, &next));
    }
}

fn sentences(pushed: &Value) -> (String, Option<String>) {
    let yes = |pointer: &str| pushed.pointer(pointer) == Some(&Value::Bool(true));
    let name = output::safe(&text(pushed, "/name"));
    let kind = output::safe(&text(pushed, "/kind"));
    let (word, next) = match () {
        () if yes("/dryRun") => {
            let digest = output::safe(&text(pushed, "/digest"));
            let bytes = output::thousands(number(pushed, "/bytes"));
            let what = format!("{bytes} bytes, {digest}; dry run: nothing was sent");
            ("checked", Some(what))
        }
        () if yes("/first") => {
            let what = format!(
                "{kind} is new: its Release names this version, so it drives {kind} targets"
            );
            ("pushed", Some(what))
        }
        () if yes("/created") => {
            let what = format!("promote it: sengu promote {name} --share 10%");
            ("pushed", Some(what))
        }
        () => ("unchanged", None),
    };
    (format!("worker/{name} {word}"), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_is_said() {
        let mut all = String::new();
        for pushed in [
            json!({"name": "pdu@1.5.0", "kind": "pdu", "created": true, "first": false}),
            json!({"name": "pdu@1.0.0", "kind": "pdu", "created": true, "first": true}),
            json!({"name": "pdu@1.5.0", "kind": "pdu", "created": false, "first": false}),
            json!({"name": "pdu@1.5.0", "dryRun": true, "bytes": 1234, "digest": "sha256:ab"}),
        ] {
            let (done, next) = sentences(&pushed);
            all += &format!("{done}\n  {}\n", next.as_deref().unwrap_or("-"));
        }
        expect_test::expect![[r#"
            worker/pdu@1.5.0 pushed
              promote it: sengu promote pdu@1.5.0 --share 10%
            worker/pdu@1.0.0 pushed
              pdu is new: its Release names this version, so it drives pdu targets
            worker/pdu@1.5.0 unchanged
              -
            worker/pdu@1.5.0 checked
              1,234 bytes, sha256:ab; dry run: nothing was sent
        "#]]
        .assert_eq(&all);
    }

    #[test]
    fn what_is_written_comes_out_in_parts_and_stops_when_nobody_takes_it() {
        let (to, mut from) = mpsc::channel(PARTS_AHEAD_MAX);
        let mut parts = Parts {
            to,
            buffer: Vec::new(),
        };
        parts.write_all(&vec![7; PART_BYTES + 1]).unwrap();
        parts.write_all(b"end").unwrap();
        parts.flush().unwrap();
        assert_eq!(from.try_recv().unwrap().len(), PART_BYTES + 1);
        assert_eq!(from.try_recv().unwrap(), &b"end"[..]);
        drop(from);
        parts.write_all(b"more").unwrap();
        let error = anyhow::Error::from(parts.flush().unwrap_err()).context("pack");
        assert!(is_cut_off(&error));
    }
}
