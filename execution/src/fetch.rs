//! Fetches one image over the interconnect, part by part, into the cache. It asks for few parts at once and writes each
//! as it comes, so that memory stays small however large the image is, and believes nothing until the digest is right.

use crate::cache::{self, Stored};
use crate::images::PARTS_OUT_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sengu_interconnect::{Broker, Message, Queue};
use sengu_model::image::ImageError;
use sengu_model::limits::{BLOB_PART_BYTES, BLOB_PART_WAIT_MS};
use sengu_model::wire::envelope::{BlobRequest, VERSION, WeeCommand};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Times that one part is asked for.
const ASKED_MAX: u32 = 4;

/// What is to be fetched, and how.
pub struct Job {
    pub broker: Arc<dyn Broker>,
    pub wee: String,
    pub digest: String,
    /// Of the whole, as offered.
    pub bytes: u64,
    pub cache: PathBuf,
    /// `WeeCommand::BlobPart`s of this digest as they came.
    pub parts: mpsc::Receiver<Bytes>,
}

/// The least that must be read of a part to know whose it is.
#[derive(Deserialize)]
pub struct PartHead<'a> {
    #[serde(borrow)]
    pub digest: Cow<'a, str>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("logic says: {0}")]
    Refused(String),
    #[error("the part at byte {offset} did not come, though asked for {ASKED_MAX} times")]
    Silence { offset: u64 },
    #[error("{0}")]
    Part(String),
    #[error("its bytes are {is}, but {offered} is offered")]
    Digest { is: String, offered: String },
    #[error("it is not in the form of an image")]
    Image(#[source] ImageError),
    #[error("the disk is full: {}", .path.display())]
    Full { path: PathBuf },
    #[error("{}", .path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("it was given up")]
    GivenUp,
}

impl FetchError {
    pub fn disk(path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::Full { path },
            _ => FetchError::Disk { path, source },
        }
    }

    /// Another try would give the same.
    pub fn is_of_the_image(&self) -> bool {
        matches!(self, FetchError::Digest { .. } | FetchError::Image(_))
    }

    /// The whole chain on one line.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        text
    }
}

/// Brings the image into the cache.
///
/// # Errors
/// Why it did not come; nothing of it is left then.
pub async fn fetch(mut job: Job) -> Result<Stored, FetchError> {
    let came = receive(&mut job).await;
    let (cache, digest) = (job.cache, job.digest);
    blocking(move || match came {
        Ok(()) => cache::take_in(&cache, &digest),
        Err(e) => {
            cache::drop_coming(&cache, &digest);
            Err(e)
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let done = crate::clock::blocking(work).await;
    done.map_err(|_| FetchError::GivenUp).flatten()
}

/// A part that is asked for: from its offset, by which it is known, up to here.
struct Asked {
    end: u64,
    times: u32,
    again: Instant,
}

async fn receive(job: &mut Job) -> Result<(), FetchError> {
    let (cache, digest) = (job.cache.clone(), job.digest.clone());
    let file = blocking(move || cache::open_coming(&cache, &digest)).await?;
    let file = Arc::new(file);
    let mut asked: BTreeMap<u64, Asked> = BTreeMap::new();
    let mut next = 0;
    while next < job.bytes || !asked.is_empty() {
        while next < job.bytes && asked.len() < PARTS_OUT_MAX {
            let end = job.bytes.min(next + BLOB_PART_BYTES as u64);
            asked.insert(next, ask(job, next, end, 1).await);
            next = end;
        }
        let due = asked.values().map(|part| part.again).min();
        let due = due.unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            part = job.parts.recv() => {
                let part = part.ok_or(FetchError::GivenUp)?;
                on_part(job, &file, &mut asked, &part).await?;
            }
            () = tokio::time::sleep_until(due) => ask_again(job, &mut asked).await?,
        }
    }
    Ok(())
}

async fn ask(job: &Job, offset: u64, end: u64, times: u32) -> Asked {
    let request = BlobRequest {
        v: VERSION,
        wee: job.wee.clone(),
        digest: job.digest.clone(),
        offset,
    };
    let message = serde_json::to_vec(&request).map(|body| Message {
        queue: Queue::blobs(),
        body: body.into(),
    });
    let wait = Duration::from_millis(BLOB_PART_WAIT_MS);
    if let Ok(message) = message {
        // What the broker does not take is asked for again like what logic does not answer.
        match tokio::time::timeout(wait, job.broker.publish(vec![message])).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(digest = job.digest, error = %e, "ask for an image"),
            Err(_) => tracing::warn!(digest = job.digest, "the broker does not take requests"),
        }
    }
    Asked {
        end,
        times,
        again: Instant::now() + wait,
    }
}

async fn ask_again(job: &Job, asked: &mut BTreeMap<u64, Asked>) -> Result<(), FetchError> {
    let now = Instant::now();
    for (offset, part) in asked.iter_mut().filter(|(_, part)| part.again <= now) {
        if part.times >= ASKED_MAX {
            return Err(FetchError::Silence { offset: *offset });
        }
        tracing::debug!(digest = job.digest, offset, "asking for a part again");
        *part = ask(job, *offset, part.end, part.times + 1).await;
    }
    Ok(())
}

async fn on_part(
    job: &Job,
    file: &Arc<File>,
    asked: &mut BTreeMap<u64, Asked>,
    body: &Bytes,
) -> Result<(), FetchError> {
    let wrong = |what: String| Err(FetchError::Part(what));
    let (offset, total, data, error) = match serde_json::from_slice(body) {
        Ok(WeeCommand::BlobPart {
            offset,
            total,
            data,
            error,
            ..
        }) => (offset, total, data, error),
        Ok(_) => return Ok(()),
        Err(e) => return wrong(format!("a part is not understood: {e}")),
    };
    if let Some(why) = error {
        return Err(FetchError::Refused(why));
    }
    if total != job.bytes {
        return wrong(format!(
            "it has {total} bytes, but {} are offered",
            job.bytes
        ));
    }
    let Some(part) = asked.get(&offset) else {
        return Ok(()); // asked for twice, and this is the second answer
    };
    let end = part.end;
    let Ok(data) = STANDARD.decode(data) else {
        return wrong(format!("the part at byte {offset} is not base64"));
    };
    let came_to = offset + data.len() as u64;
    if data.is_empty() || came_to > end {
        let count = data.len();
        return wrong(format!("the part at byte {offset} has {count} bytes"));
    }
    let (to, path) = (file.clone(), cache::coming(&job.cache, &job.digest));
    blocking(move || {
        to.write_all_at(&data, offset)
            .map_err(FetchError::disk(&path))
    })
    .await?;
    asked.remove(&offset);
    if came_to < end {
        asked.insert(came_to, ask(job, came_to, end, 1).await);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told() {
        let full = FetchError::disk(Path::new("/c"))(io::Error::from_raw_os_error(28));
        assert_eq!(full.text(), "the disk is full: /c");
        let other = FetchError::disk(Path::new("/c"))(io::Error::from_raw_os_error(13));
        assert!(
            other.text().starts_with("/c: Permission denied"),
            "{}",
            other.text()
        );
    }
}
