//! A gateway of the twin: one port, many units behind it, one request at a time, and few connections.

use super::device::Device;
use crate::frame::{self, Table};
use parking_lot::Mutex;
use sengu_sdk::{Fault, TwinTarget};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Connections that a gateway bears, as the smaller ones do.
const SESSIONS_MAX: u32 = 2;
const SLOW_DEFAULT_MS: u64 = 2_000;
/// A request that a device never answers must not hold a connection for ever.
const HANG: Duration = Duration::from_secs(600);

pub struct Gateway {
    pub units: BTreeMap<u8, Unit>,
    pub latency: Duration,
    /// The serial line behind it.
    pub line: tokio::sync::Mutex<()>,
    pub sessions: Mutex<Sessions>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Sessions {
    pub open: u32,
    pub most: u32,
}

pub struct Unit {
    pub name: String,
    pub device: Mutex<Device>,
    pub fault: Mutex<Option<Fault>>,
    pub seen: Mutex<TwinTarget>,
}

/// What goes back.
enum Answer {
    Bytes(Vec<u8>),
    Nothing,
    Close,
}

pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    loop {
        // A failed accept is a passing shortage.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let full = gateway.units.values().any(|unit| {
            let fault = unit.fault.lock();
            fault.as_ref().is_some_and(|f| f.fault == "session_full")
        });
        let admitted = {
            let mut sessions = gateway.sessions.lock();
            let admitted = !full && sessions.open < SESSIONS_MAX;
            if admitted {
                sessions.open += 1;
                sessions.most = sessions.most.max(sessions.open);
            }
            admitted
        };
        if !admitted {
            drop(stream);
            continue;
        }
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let _ = converse(stream, &gateway).await;
            gateway.sessions.lock().open -= 1;
        });
    }
}

async fn converse(mut stream: TcpStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    let mut former = 0;
    loop {
        let Ok(next) = frame::cut(&mut buffer) else {
            return Ok(());
        };
        let Some(request) = next else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let turn = gateway.line.lock().await;
        let asked = answer(gateway, &request, former);
        former = request.transaction;
        tokio::time::sleep(asked.delay).await;
        drop(turn);
        match asked.answer {
            Answer::Bytes(bytes) => stream.write_all(&bytes).await?,
            Answer::Close => return Ok(()),
            Answer::Nothing => {
                // Silent on this request; the connection stays, and the next one is heard.
                let hung = tokio::time::timeout(HANG, stream.readable()).await;
                if hung.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

struct Asked {
    delay: Duration,
    answer: Answer,
}

fn answer(gateway: &Gateway, request: &frame::Frame, former: u16) -> Asked {
    let reply = |pdu: &[u8]| frame::frame(request.transaction, request.unit, pdu);
    let Some(unit) = gateway.units.get(&request.unit) else {
        // Nobody of that number on the line.
        let code = request.pdu.first().copied().unwrap_or(0) | 0x80;
        return Asked {
            delay: gateway.latency,
            answer: Answer::Bytes(reply(&[code, 11])),
        };
    };
    unit.seen.lock().requests += 1;
    let fault = unit.take_fault();
    let kind = fault.as_ref().map_or("", |f| f.fault.as_str());
    let mut delay = gateway.latency;
    if kind == "slow" {
        let ms = fault.as_ref().and_then(|f| f.ms).unwrap_or(SLOW_DEFAULT_MS);
        delay += Duration::from_millis(ms);
    }
    let function = request.pdu.first().copied().unwrap_or(0);
    let writes = matches!(function, 5 | 6 | 15 | 16);
    let denied = |code: u8| Answer::Bytes(reply(&[function | 0x80, code]));
    let answer = match kind {
        "hang" => Answer::Nothing,
        "cut" => Answer::Close,
        "garbage" => Answer::Bytes(b"\x15\xff\x00\x00garbage".to_vec()),
        "refuse" => denied(10),
        "illegal" => denied(2),
        "failure" => denied(4),
        "busy" => denied(6),
        "write_busy" if writes => denied(6),
        "write_illegal" if writes => denied(3),
        "drop_write" if writes => Answer::Nothing,
        _ => {
            let pdu = unit.obey(&request.pdu, kind);
            let whole = reply(&pdu);
            match kind {
                "drop_reply_of_write" if writes => Answer::Nothing,
                "cut_reply_of_write" if writes => Answer::Close,
                "no_answer" if writes => denied(11),
                "write_acknowledge" if writes => denied(5),
                "write_failure" if writes => denied(4),
                "wrong_unit" => {
                    let other = request.unit.wrapping_add(1);
                    Answer::Bytes(frame::frame(request.transaction, other, &pdu))
                }
                // What was asked for before, once more, and then the answer.
                "stale" => {
                    let mut bytes = frame::frame(former, request.unit, &pdu);
                    bytes.extend(whole);
                    Answer::Bytes(bytes)
                }
                "short" => Answer::Bytes(reply(&pdu[..pdu.len() - 1])),
                _ => Answer::Bytes(whole),
            }
        }
    };
    Asked { delay, answer }
}

impl Unit {
    /// The fault in force; one with a count wears off.
    fn take_fault(&self) -> Option<Fault> {
        let mut slot = self.fault.lock();
        let fault = slot.clone()?;
        match slot.as_mut().and_then(|f| f.count.as_mut()) {
            Some(count) if *count <= 1 => *slot = None,
            Some(count) => *count -= 1,
            None => {}
        }
        Some(fault)
    }

    /// Does what a request says, and gives the PDU of the answer.
    fn obey(&self, pdu: &[u8], fault: &str) -> Vec<u8> {
        let function = pdu.first().copied().unwrap_or(0);
        self.obeyed(pdu, fault)
            .unwrap_or_else(|code| vec![function | 0x80, code])
    }

    fn obeyed(&self, pdu: &[u8], fault: &str) -> Result<Vec<u8>, u8> {
        let mut device = self.device.lock();
        let word = |at: usize| -> Result<u16, u8> {
            let pair = pdu.get(at..at + 2).ok_or(3)?;
            Ok(u16::from_be_bytes([pair[0], pair[1]]))
        };
        let function = pdu.first().copied().ok_or(1)?;
        let mut write = |table: Table, words: &[u16]| -> Result<Vec<u8>, u8> {
            let address = word(1)?;
            if !device.has(table, address, words.len()) {
                return Err(2);
            }
            let mut words = words.to_vec();
            match fault {
                "ignore_write" => words.clear(),
                "clamp_write" => words[0] = words[0].wrapping_sub(10),
                _ => {}
            }
            if !words.is_empty() {
                device.write(table, address, &words);
            }
            Ok(pdu[..5].to_vec())
        };
        match function {
            1..=4 => {
                let table = [Table::Coil, Table::Discrete, Table::Holding, Table::Input]
                    [usize::from(function) - 1];
                let (address, count) = (word(1)?, word(3)?);
                if count == 0 || count > if table.is_bits() { 2_000 } else { 125 } {
                    return Err(3);
                }
                let words = device.read(table, address, count).ok_or(2)?;
                let data: Vec<u8> = if table.is_bits() {
                    let byte = |bits: &[u16]| {
                        let bits = bits.iter().enumerate();
                        bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit != 0) << at)
                    };
                    words.chunks(8).map(byte).collect()
                } else {
                    words.iter().flat_map(|w| w.to_be_bytes()).collect()
                };
                let mut answer = vec![function, u8::try_from(data.len()).map_err(|_| 3)?];
                answer.extend(data);
                Ok(answer)
            }
            5 => match word(3)? {
                0xff00 => write(Table::Coil, &[1]),
                0 => write(Table::Coil, &[0]),
                _ => Err(3),
            },
            6 => write(Table::Holding, &[word(3)?]),
            15 if word(3)? == 1 => write(Table::Coil, &[u16::from(pdu.get(6) == Some(&1))]),
            16 => {
                let count = word(3)?;
                if count == 0 || count > 123 || pdu.len() != 6 + usize::from(count) * 2 {
                    return Err(3);
                }
                let words: Result<Vec<u16>, u8> =
                    (0..usize::from(count)).map(|at| word(6 + at * 2)).collect();
                write(Table::Holding, &words?)
            }
            0x2b => {
                let objects = device.identification().ok_or(1)?;
                let regular = pdu.get(2) == Some(&2);
                let objects: Vec<_> = objects
                    .into_iter()
                    .filter(|(id, _)| regular || *id < 3)
                    .collect();
                let count = u8::try_from(objects.len()).map_err(|_| 3)?;
                let mut answer = vec![0x2b, 0x0e, pdu[2], 0x82, 0, 0, count];
                for (id, text) in objects {
                    answer.extend([id, u8::try_from(text.len()).map_err(|_| 3)?]);
                    answer.extend(text.into_bytes());
                }
                Ok(answer)
            }
            _ => Err(1),
        }
    }
}
