//! Modbus TCP on the wire: what a request looks like, and how the bytes that come back are cut and understood.
//!
//! Pure: no socket, no clock. It must never guess: an answer that does not fit its request is nonsense, not a value.

use serde::Deserialize;
use std::fmt;

/// Modbus Application Protocol V1.1b3, section 6: what one request may ask for.
pub const REGISTERS_PER_READ_MAX: u16 = 125;
pub const BITS_PER_READ_MAX: u16 = 2_000;
/// Transaction, protocol, length, unit.
const HEADER_BYTES: usize = 7;
/// Unit and PDU of at most 253 bytes.
const LENGTH_MAX: usize = 254;

const READ_DEVICE_IDENTIFICATION: u8 = 0x2b;
const MEI_DEVICE_IDENTIFICATION: u8 = 0x0e;

/// The four address spaces of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Bits that can be written.
    Coil,
    /// Bits that can be read only.
    Discrete,
    /// Registers that can be written.
    Holding,
    /// Registers that can be read only.
    Input,
}

impl Table {
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }

    fn read_function(self) -> u8 {
        match self {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        })
    }
}

/// A request that changes nothing, so that it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Values {
        table: Table,
        address: u16,
        count: u16,
    },
    /// Vendor, product and version; `level` 1 = basic, 2 = regular.
    Identification { level: u8, object: u8 },
}

/// A request that changes something. Not `Clone`: who sends it gives it away, so that no loop can send it twice.
#[derive(Debug, PartialEq, Eq)]
pub enum Write {
    Coil {
        address: u16,
        on: bool,
    },
    /// The same by the function for many coils, for devices that know only that.
    Coils {
        address: u16,
        on: bool,
    },
    Register {
        address: u16,
        value: u16,
    },
    Registers {
        address: u16,
        values: Vec<u16>,
    },
}

/// What an answer gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Bits(Vec<bool>),
    Registers(Vec<u16>),
    Identification(Identification),
    /// The device says that it has written.
    Written,
}

/// One part of a device's identification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// Object number and text.
    pub objects: Vec<(u8, String)>,
    /// Ask again from this object.
    pub next: Option<u8>,
}

/// An answer that gives no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The device says no, with this code.
    Exception(u8),
    /// It does not fit the request.
    Nonsense(String),
}

pub trait Request {
    /// Function code and data.
    fn pdu(&self) -> Vec<u8>;

    /// What the PDU of an answer to this request says.
    ///
    /// # Errors
    /// `Exception` with the device's code, `Nonsense` when it is no answer to this request.
    fn understand(&self, pdu: &[u8]) -> Result<Reply, Denied>;

    fn frame(&self, transaction: u16, unit: u8) -> Vec<u8> {
        frame(transaction, unit, &self.pdu())
    }
}

impl Request for Read {
    fn pdu(&self) -> Vec<u8> {
        match *self {
            Read::Values {
                table,
                address,
                count,
            } => five(table.read_function(), address, count),
            Read::Identification { level, object } => vec![
                READ_DEVICE_IDENTIFICATION,
                MEI_DEVICE_IDENTIFICATION,
                level,
                object,
            ],
        }
    }

    fn understand(&self, pdu: &[u8]) -> Result<Reply, Denied> {
        match *self {
            Read::Values { table, count, .. } => {
                let data = data_of(pdu, table.read_function())?;
                let (&bytes, data) = data.split_first().ok_or_else(|| nonsense("no data"))?;
                let expected = if table.is_bits() {
                    usize::from(count).div_ceil(8)
                } else {
                    usize::from(count) * 2
                };
                if usize::from(bytes) != expected || data.len() != expected {
                    return Err(nonsense(&format!(
                        "{} bytes (said to be {bytes}) where {expected} were asked for",
                        data.len()
                    )));
                }
                Ok(if table.is_bits() {
                    let bit = |at: usize| data[at / 8] >> (at % 8) & 1 == 1;
                    Reply::Bits((0..usize::from(count)).map(bit).collect())
                } else {
                    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
                    Reply::Registers(data.chunks_exact(2).map(word).collect())
                })
            }
            Read::Identification { .. } => {
                let data = data_of(pdu, READ_DEVICE_IDENTIFICATION)?;
                identification(data).ok_or_else(|| nonsense("an identification that is cut short"))
            }
        }
    }
}

impl Request for Write {
    fn pdu(&self) -> Vec<u8> {
        match self {
            Write::Coil { address, on } => five(5, *address, if *on { 0xff00 } else { 0 }),
            Write::Coils { address, on } => {
                let mut pdu = five(15, *address, 1);
                pdu.extend([1, u8::from(*on)]);
                pdu
            }
            Write::Register { address, value } => five(6, *address, *value),
            Write::Registers { address, values } => {
                // At most four registers: the widest type that can be set.
                let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
                let mut pdu = five(16, *address, count);
                pdu.push(u8::try_from(values.len() * 2).unwrap_or(u8::MAX));
                pdu.extend(values.iter().flat_map(|v| v.to_be_bytes()));
                pdu
            }
        }
    }

    fn understand(&self, pdu: &[u8]) -> Result<Reply, Denied> {
        let sent = self.pdu();
        let data = data_of(pdu, sent[0])?;
        // All four echo the address, and the value or the count.
        if data == &sent[1..5] {
            Ok(Reply::Written)
        } else {
            Err(nonsense("the echo of a write is not what was written"))
        }
    }
}

fn five(function: u8, a: u16, b: u16) -> Vec<u8> {
    let (a, b) = (a.to_be_bytes(), b.to_be_bytes());
    vec![function, a[0], a[1], b[0], b[1]]
}

fn nonsense(what: &str) -> Denied {
    Denied::Nonsense(what.to_owned())
}

/// What follows the function code.
fn data_of(pdu: &[u8], function: u8) -> Result<&[u8], Denied> {
    match pdu {
        [f, data @ ..] if *f == function => Ok(data),
        [f, code] if *f == function | 0x80 => Err(Denied::Exception(*code)),
        [f, ..] => Err(nonsense(&format!(
            "an answer of function {f} to a request of function {function}"
        ))),
        [] => Err(nonsense("an empty answer")),
    }
}

fn identification(data: &[u8]) -> Option<Reply> {
    let [mei, _level, _conformity, more, next, count, rest @ ..] = data else {
        return None;
    };
    if *mei != MEI_DEVICE_IDENTIFICATION {
        return None;
    }
    let mut rest = rest;
    let mut objects = Vec::new();
    for _ in 0..*count {
        let [id, length, tail @ ..] = rest else {
            return None;
        };
        let text = tail.get(..usize::from(*length))?;
        rest = &tail[usize::from(*length)..];
        let text = String::from_utf8_lossy(text);
        let text = text.trim_matches(|c: char| c.is_control() || c.is_whitespace());
        objects.push((*id, text.to_owned()));
    }
    Some(Reply::Identification(Identification {
        objects,
        next: (*more == 0xff).then_some(*next),
    }))
}

/// A whole frame, whosever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub transaction: u16,
    pub unit: u8,
    pub pdu: Vec<u8>,
}

pub fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    // Our PDUs have at most 253 bytes.
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + pdu.len());
    bytes.extend(transaction.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.push(unit);
    bytes.extend(pdu);
    bytes
}

/// Takes the first frame out of `buffer`; none while it is not whole.
///
/// # Errors
/// When this is no Modbus TCP, so that nothing after it can be trusted either.
pub fn cut(buffer: &mut Vec<u8>) -> Result<Option<Frame>, String> {
    let [t0, t1, p0, p1, l0, l1, unit, ..] = buffer[..] else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if (p0, p1) != (0, 0) || !(2..=LENGTH_MAX).contains(&length) {
        return Err("bytes that are no Modbus TCP".to_owned());
    }
    let end = HEADER_BYTES - 1 + length;
    if buffer.len() < end {
        return Ok(None);
    }
    let pdu = buffer[HEADER_BYTES..end].to_vec();
    buffer.drain(..end);
    Ok(Some(Frame {
        transaction: u16::from_be_bytes([t0, t1]),
        unit,
        pdu,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn values(table: Table, address: u16, count: u16) -> Read {
        Read::Values {
            table,
            address,
            count,
        }
    }

    /// Bytes from the examples of the Modbus Application Protocol V1.1b3, section 6.
    #[test]
    fn requests_are_the_bytes_of_the_specification() {
        let reads: [(Read, &[u8]); 5] = [
            (values(Table::Coil, 0x13, 0x13), &[1, 0, 0x13, 0, 0x13]),
            (values(Table::Discrete, 0xc4, 0x16), &[2, 0, 0xc4, 0, 0x16]),
            (values(Table::Holding, 0x6b, 3), &[3, 0, 0x6b, 0, 3]),
            (values(Table::Input, 8, 1), &[4, 0, 8, 0, 1]),
            (
                Read::Identification {
                    level: 1,
                    object: 0,
                },
                &[0x2b, 0x0e, 1, 0],
            ),
        ];
        for (read, pdu) in reads {
            assert_eq!(read.pdu(), pdu, "{read:?}");
        }
        let (address, on) = (0xac, true);
        let writes: [(Write, &[u8]); 4] = [
            (Write::Coil { address, on }, &[5, 0, 0xac, 0xff, 0]),
            (Write::Coils { address, on }, &[15, 0, 0xac, 0, 1, 1, 1]),
            (
                Write::Register {
                    address: 1,
                    value: 3,
                },
                &[6, 0, 1, 0, 3],
            ),
            (
                Write::Registers {
                    address: 1,
                    values: vec![0x0a, 0x0102],
                },
                &[16, 0, 1, 0, 2, 4, 0, 0x0a, 1, 2],
            ),
        ];
        for (write, pdu) in writes {
            assert_eq!(write.pdu(), pdu, "{write:?}");
            // Each echoes its first five bytes, and nothing else is an acknowledgement.
            assert_eq!(write.understand(&pdu[..5]), Ok(Reply::Written));
            let mut other = pdu[..5].to_vec();
            other[4] ^= 1;
            assert!(matches!(write.understand(&other), Err(Denied::Nonsense(_))));
            assert_eq!(
                write.understand(&[pdu[0] | 0x80, 2]),
                Err(Denied::Exception(2))
            );
        }
        assert_eq!(
            values(Table::Holding, 4, 1).frame(0x1501, 0xff),
            [0x15, 1, 0, 0, 0, 6, 0xff, 3, 0, 4, 0, 1]
        );
    }

    #[test]
    fn answers_are_taken_only_when_they_fit_the_request() {
        let holding = values(Table::Holding, 0x6b, 3);
        let answer = [3, 6, 2, 0x2b, 0, 0, 0, 0x64];
        assert_eq!(
            holding.understand(&answer),
            Ok(Reply::Registers(vec![0x022b, 0, 0x64]))
        );
        let coils = values(Table::Coil, 0x13, 0x13);
        let Ok(Reply::Bits(bits)) = coils.understand(&[1, 3, 0xcd, 0x6b, 0x05]) else {
            panic!("bits")
        };
        assert_eq!(bits.len(), 0x13);
        assert_eq!(
            &bits[..8],
            [true, false, true, true, false, false, true, true]
        );
        assert_eq!(holding.understand(&[0x83, 2]), Err(Denied::Exception(2)));
        let wrong: [&[u8]; 7] = [
            &[],
            &[3],
            &[3, 4, 0, 0, 0, 0],
            &[3, 6, 0, 0],
            &[3, 6, 0, 0, 0, 0, 0, 0, 0],
            &[4, 6, 0, 0, 0, 0, 0, 0],
            &[0x84, 2],
        ];
        for pdu in wrong {
            let got = holding.understand(pdu);
            assert!(matches!(got, Err(Denied::Nonsense(_))), "{pdu:?}: {got:?}");
        }
    }

    #[test]
    fn identification_is_read_in_parts_and_refused_when_cut_short() {
        let read = Read::Identification {
            level: 2,
            object: 0,
        };
        let pdu = b"\x2b\x0e\x02\x82\xff\x02\x02\x00\x04Acme\x01\x03X-1";
        let Ok(Reply::Identification(part)) = read.understand(pdu) else {
            panic!("identification")
        };
        assert_eq!(part.objects, [(0, "Acme".into()), (1, "X-1".into())]);
        assert_eq!(part.next, Some(2));
        for short in 1..pdu.len() {
            assert!(read.understand(&pdu[..short]).is_err(), "{short}");
        }
    }

    #[test]
    fn frames_are_cut_from_any_pieces_and_rubbish_is_named() {
        let mut wire = frame(7, 1, &[3, 2, 0, 9]);
        wire.extend(frame(8, 2, &[0x83, 6]));
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        for byte in wire {
            buffer.push(byte);
            while let Some(frame) = cut(&mut buffer).unwrap() {
                seen.push((frame.transaction, frame.unit, frame.pdu.len()));
            }
        }
        assert_eq!(seen, [(7, 1, 4), (8, 2, 2)]);
        for rubbish in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            &[0, 1, 0, 0, 0, 1, 1],
            &[0, 1, 0, 0, 1, 0, 1],
        ] {
            assert!(cut(&mut rubbish.to_vec()).is_err(), "{rubbish:?}");
        }
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let mut seed = 7u64;
        let mut byte = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        let reads = [
            values(Table::Coil, 0, 9),
            values(Table::Input, 0, 2),
            Read::Identification {
                level: 2,
                object: 0,
            },
        ];
        for round in 0..20_000 {
            let length = usize::from(byte()) % 40;
            let mut bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
            // Half of them begin as they should.
            if round % 2 == 0 && length > 0 {
                bytes[0] = [1, 4, 0x2b][round / 2 % 3];
            }
            let read = &reads[round / 2 % 3];
            let _ = read.understand(&bytes);
            if round % 2 == 0 && length > 4 {
                bytes[2..4].copy_from_slice(&[0, 0]);
            }
            while let Ok(Some(_)) = cut(&mut bytes) {}
        }
    }
}
