//! The worker: worker protocol v1 on stdin and stdout by the standard library alone. It must tell before it answers.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BinaryHeap;
use std::io::{BufRead as _, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Beats come this often; the protocol asks for one every five seconds.
const BEAT: Duration = Duration::from_secs(4);

/// Answers that are owed later, the earliest on top.
#[derive(Default)]
struct Owed {
    answers: BinaryHeap<(std::cmp::Reverse<Instant>, String)>,
    draining: bool,
}

type Shared = Arc<(Mutex<Owed>, Condvar)>;

/// Serves tasks until it is told to drain or stdin ends. Arguments: the version, and `bad`.
pub fn run(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let version = arguments.next().unwrap_or_default();
    let bad = arguments.next().as_deref() == Some("bad");
    match serve(&version, bad) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn locked(owed: &Mutex<Owed>) -> MutexGuard<'_, Owed> {
    owed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(version: &str, bad: bool) -> Result<()> {
    say(&format!(
        "{{\"type\":\"hello\",\"protocol\":1,\"worker\":\"{}\",\"version\":\"{version}\",\"slots\":{}}}\n",
        super::KIND,
        super::SLOTS
    ))?;
    let owed: Shared = Arc::default();
    let later = owed.clone();
    let answering = std::thread::spawn(move || answer_later(&later));
    let mut input = BufReader::with_capacity(256 << 10, std::io::stdin());
    let mut witness: Option<TcpStream> = None;
    let (mut line, mut told, mut answers) = (String::new(), String::new(), String::new());
    loop {
        line.clear();
        if input.read_line(&mut line).context("read a frame")? == 0 {
            break;
        }
        let frame: Value = serde_json::from_str(&line).context("read a frame")?;
        match frame["type"].as_str() {
            Some("drain") => break,
            Some("task") => {}
            _ => continue,
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, action) = (text(&frame["id"]), text(&frame["action"]));
        let target = text(&frame["target"]["name"]);
        told.push_str(&format!("{version} {id} {target}\n"));
        let outcome = if bad {
            "{\"status\":\"failed\",\"code\":\"bad_reply\",\"message\":\"bad on purpose\"}"
        } else if action == "once" {
            "{\"status\":\"done\",\"changed\":true}"
        } else {
            "{\"status\":\"done\",\"changed\":false}"
        };
        let fence = text(&frame["fence"]);
        let answer = format!(
            "{{\"type\":\"outcome\",\"id\":\"{id}\",\"fence\":\"{fence}\",\"outcome\":{outcome}}}\n"
        );
        match frame["params"]["sleep_ms"].as_u64() {
            Some(ms) if ms > 0 => {
                let at = Instant::now() + Duration::from_millis(ms);
                // Told at once: it has begun.
                tell(&mut witness, &frame, &mut told)?;
                locked(&owed.0)
                    .answers
                    .push((std::cmp::Reverse(at), answer));
                owed.1.notify_one();
            }
            _ => answers.push_str(&answer),
        }
        // What has come together is told and answered together.
        if !input.buffer().contains(&b'\n') {
            tell(&mut witness, &frame, &mut told)?;
            say(&answers)?;
            answers.clear();
        }
    }
    if !answers.is_empty() {
        say(&answers)?;
    }
    locked(&owed.0).draining = true;
    owed.1.notify_one();
    let _ = answering.join();
    Ok(())
}

fn say(lines: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes()).context("answer")?;
    out.flush().context("answer")
}

/// All targets are the same listener.
fn tell(witness: &mut Option<TcpStream>, frame: &Value, told: &mut String) -> Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    let stream = match witness {
        Some(stream) => stream,
        None => {
            let address = frame["target"]["address"].as_str().unwrap_or_default();
            let stream = TcpStream::connect(address).context("reach the witness")?;
            stream.set_nodelay(true)?;
            witness.insert(stream)
        }
    };
    stream.write_all(told.as_bytes()).context("tell")?;
    told.clear();
    Ok(())
}

/// Ends once nothing is owed and no more will come.
fn answer_later(owed: &Shared) {
    let mut beat = Instant::now() + BEAT;
    let mut state = locked(&owed.0);
    loop {
        let now = Instant::now();
        let due = state.answers.peek().is_some_and(|(at, _)| at.0 <= now);
        if due {
            let answer = state.answers.pop().map(|(_, answer)| answer);
            drop(state);
            if answer.is_none_or(|answer| say(&answer).is_err()) {
                return;
            }
            state = locked(&owed.0);
            continue;
        }
        if state.draining && state.answers.is_empty() {
            return;
        }
        if now >= beat {
            drop(state);
            if say("{\"type\":\"beat\"}\n").is_err() {
                return;
            }
            beat = now + BEAT;
            state = locked(&owed.0);
            continue;
        }
        let next = state.answers.peek().map_or(beat, |(at, _)| at.0.min(beat));
        let wait = owed
            .1
            .wait_timeout(state, next.saturating_duration_since(now));
        state = wait.unwrap_or_else(PoisonError::into_inner).0;
    }
}
