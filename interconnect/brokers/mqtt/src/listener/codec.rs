//! The packets that a listener reads and writes, of MQTT 3.1.1 and 5, and no others. Strangers send these bytes: whatever
//! they are, reading them ends with a packet or an error. The client library's codec leaves parts of this to the broker's
//! good will, so it is not used here.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One packet from a client, in bytes: a CONNECT with a token, or a few filters.
pub(super) const PACKET_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V5,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a packet of {0} bytes")]
    TooLarge(usize),
    #[error("a packet that ends too soon or holds what it must not")]
    Packet,
    #[error("a text that is not UTF-8")]
    Text,
    #[error("a version of the protocol that is neither 3.1.1 nor 5")]
    Version,
    #[error("a packet of type {0}, which no follower sends")]
    Kind(u8),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub version: Version,
    pub client_id: String,
    /// Seconds; 0 is for ever.
    pub keep_alive: u16,
    pub password: Option<Bytes>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub text: String,
    /// Of MQTT 5: 0 retained messages come, 1 only with a new filter, 2 never.
    pub retained: u8,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Hello(Hello),
    Subscribe { pkid: u16, filters: Vec<Filter> },
    Unsubscribe { pkid: u16, filters: Vec<String> },
    Publish,
    Ping,
    Bye,
}

/// The next whole packet, with its first byte; None when it has not arrived yet.
pub(super) fn frame(incoming: &mut BytesMut) -> Result<Option<(u8, Bytes)>, Malformed> {
    let mut length = 0usize;
    for at in 1..=4 {
        let Some(byte) = incoming.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 != 0 {
            continue;
        }
        if length > PACKET_BYTES_MAX {
            return Err(Malformed::TooLarge(length));
        }
        if incoming.len() < at + 1 + length {
            return Ok(None);
        }
        let first = incoming[0];
        incoming.advance(at + 1);
        return Ok(Some((first, incoming.split_to(length).freeze())));
    }
    Err(Malformed::Packet)
}

/// `version` is None before the CONNECT.
pub(super) fn read(first: u8, body: Bytes, version: Option<Version>) -> Result<Heard, Malformed> {
    let mut body = Body(body);
    match (first >> 4, first & 0x0f, version) {
        (1, 0, None) => body.hello().map(Heard::Hello),
        (3, _, Some(_)) => Ok(Heard::Publish),
        (8, 2, Some(version)) => body.subscribe(version),
        (10, 2, Some(version)) => body.unsubscribe(version),
        (12, 0, Some(_)) => Ok(Heard::Ping),
        (14, 0, Some(_)) => Ok(Heard::Bye),
        (kind, ..) => Err(Malformed::Kind(kind)),
    }
}

struct Body(Bytes);

impl Body {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed::Packet)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed::Packet)
    }

    fn take(&mut self, bytes: usize) -> Result<Bytes, Malformed> {
        match self.0.len() >= bytes {
            true => Ok(self.0.split_to(bytes)),
            false => Err(Malformed::Packet),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let text = String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed::Text)?;
        match text.contains('\0') {
            true => Err(Malformed::Text),
            false => Ok(text),
        }
    }

    /// None of them changes anything here.
    fn skip_properties(&mut self, version: Version) -> Result<(), Malformed> {
        if version == Version::V4 {
            return Ok(());
        }
        let mut length = 0usize;
        for at in 0..4 {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return self.take(length).map(|_| ());
            }
        }
        Err(Malformed::Packet)
    }

    fn hello(&mut self) -> Result<Hello, Malformed> {
        let name = self.bytes()?;
        let version = match (&name[..], self.u8()?) {
            (b"MQTT", 4) => Version::V4,
            (b"MQTT", 5) => Version::V5,
            (b"MQTT" | b"MQIsdp", _) => return Err(Malformed::Version),
            _ => return Err(Malformed::Packet),
        };
        let flags = self.u8()?;
        if flags & 1 != 0 {
            return Err(Malformed::Packet);
        }
        let keep_alive = self.u16()?;
        self.skip_properties(version)?;
        let client_id = self.text()?;
        if flags & 0x04 != 0 {
            // A last will is a message, and followers send none.
            self.skip_properties(version)?;
            self.bytes()?;
            self.bytes()?;
        }
        if flags & 0x80 != 0 {
            self.bytes()?;
        }
        let password = match flags & 0x40 {
            0 => None,
            _ => Some(self.bytes()?),
        };
        Ok(Hello {
            version,
            client_id,
            keep_alive,
            password,
        })
    }

    fn pkid(&mut self, version: Version) -> Result<u16, Malformed> {
        let pkid = self.u16()?;
        self.skip_properties(version)?;
        match pkid == 0 || self.0.is_empty() {
            true => Err(Malformed::Packet),
            false => Ok(pkid),
        }
    }

    fn subscribe(&mut self, version: Version) -> Result<Heard, Malformed> {
        let (pkid, mut filters) = (self.pkid(version)?, Vec::new());
        while !self.0.is_empty() {
            let text = self.text()?;
            let options = self.u8()?;
            let retained = match version {
                Version::V4 => 0,
                Version::V5 => (options >> 4) & 3,
            };
            filters.push(Filter { text, retained });
        }
        Ok(Heard::Subscribe { pkid, filters })
    }

    fn unsubscribe(&mut self, version: Version) -> Result<Heard, Malformed> {
        let (pkid, mut filters) = (self.pkid(version)?, Vec::new());
        while !self.0.is_empty() {
            filters.push(self.text()?);
        }
        Ok(Heard::Unsubscribe { pkid, filters })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    Version,
    Password,
    Crowded,
}

/// A packet whose body is shorter than 128 bytes.
fn short(outgoing: &mut BytesMut, first: u8, body: &[u8]) {
    outgoing.put_u8(first);
    length(outgoing, body.len());
    outgoing.put_slice(body);
}

fn length(outgoing: &mut BytesMut, mut length: usize) {
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        outgoing.put_u8(byte | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            return;
        }
    }
}

pub(super) fn welcome(outgoing: &mut BytesMut, hello: &Hello, keep_alive: u16) {
    if hello.version == Version::V4 {
        return short(outgoing, 0x20, &[0, 0]);
    }
    let mut properties = BytesMut::new();
    // Greatest QoS 0; no subscription ids; no shared subscriptions.
    properties.put_slice(&[0x24, 0, 0x29, 0, 0x2a, 0, 0x27]);
    properties.put_u32(PACKET_BYTES_MAX as u32);
    properties.put_u8(0x13);
    properties.put_u16(keep_alive);
    if hello.client_id.is_empty() {
        properties.put_slice(&[0x12, 0, 8]);
        properties.put_slice(b"follower");
    }
    let mut body = BytesMut::new();
    body.put_slice(&[0, 0]);
    length(&mut body, properties.len());
    body.put_slice(&properties);
    short(outgoing, 0x20, &body);
}

pub(super) fn refuse(outgoing: &mut BytesMut, version: Version, why: Refusal) {
    let (old, new) = match why {
        Refusal::Version => (1, 0x84),
        Refusal::Password => (5, 0x87),
        Refusal::Crowded => (3, 0x97),
    };
    match version {
        Version::V4 => short(outgoing, 0x20, &[0, old]),
        Version::V5 => short(outgoing, 0x20, &[0, new, 0]),
    }
}

/// `first` is that of SUBACK or UNSUBACK; that of MQTT 3.1.1 has no codes for the latter.
pub(super) fn acked(outgoing: &mut BytesMut, version: Version, first: u8, pkid: u16, codes: &[u8]) {
    let mut body = BytesMut::new();
    body.put_u16(pkid);
    match version {
        Version::V5 => {
            body.put_u8(0);
            body.put_slice(codes);
        }
        Version::V4 if first == SUBACK => {
            body.put_slice(
                &codes
                    .iter()
                    .map(|c| if *c < 0x80 { *c } else { 0x80 })
                    .collect::<Vec<_>>(),
            );
        }
        Version::V4 => {}
    }
    short(outgoing, first, &body);
}

pub(super) const SUBACK: u8 = 0x90;
pub(super) const UNSUBACK: u8 = 0xb0;

pub(super) fn pong(outgoing: &mut BytesMut) {
    short(outgoing, 0xd0, &[]);
}

/// MQTT 3.1.1 knows no words for it.
pub(super) fn bye(outgoing: &mut BytesMut, version: Version, reason: u8) {
    if version == Version::V5 {
        short(outgoing, 0xe0, &[reason, 0]);
    }
}

/// A message with QoS 0.
pub(super) fn message(
    outgoing: &mut BytesMut,
    version: Version,
    retained: bool,
    topic: &str,
    body: &[u8],
) {
    let properties = usize::from(version == Version::V5);
    outgoing.reserve(topic.len() + body.len() + 8);
    outgoing.put_u8(0x30 | u8::from(retained));
    length(outgoing, 2 + topic.len() + properties + body.len());
    // Topics that are longer are never told (see the hub).
    outgoing.put_u16(topic.len() as u16);
    outgoing.put_slice(topic.as_bytes());
    outgoing.put_bytes(0, properties);
    outgoing.put_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5 as theirs;

    #[test]
    fn what_others_write_is_read_and_no_part_of_it_does_harm() {
        let mut bytes = BytesMut::new();
        let connect = theirs::Connect {
            client_id: "c".to_owned(),
            keep_alive: 7,
            clean_start: true,
            properties: None,
        };
        let login = theirs::Login::new("anybody", "token");
        theirs::Packet::Connect(connect, None, Some(login))
            .write(&mut bytes, None)
            .unwrap();
        let whole = bytes.clone();
        let (first, body) = frame(&mut bytes).unwrap().unwrap();
        let Ok(Heard::Hello(hello)) = read(first, body, None) else {
            panic!("a hello");
        };
        assert_eq!(
            (hello.keep_alive, hello.password.as_deref()),
            (7, Some(&b"token"[..]))
        );
        // Every byte changed in every way ends in a packet or an error; as does every part of it.
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bad = whole.clone();
                bad[at] = value;
                if let Ok(Some((first, body))) = frame(&mut bad) {
                    for version in [None, Some(Version::V4), Some(Version::V5)] {
                        for first in [first, 0x10, 0x82, 0xa2, 0x30] {
                            let _ = read(first, body.clone(), version);
                        }
                    }
                }
            }
            let _ = read(0x10, whole.clone().freeze().slice(..at), None);
        }
    }

    #[test]
    fn long_and_endless_packets_are_refused_before_they_are_there() {
        for bad in [
            [0x10, 0xff, 0xff, 0xff, 0x7f],
            [0x10, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(frame(&mut BytesMut::from(&bad[..])).is_err());
        }
        assert_eq!(frame(&mut BytesMut::from(&[0x10, 0x80][..])), Ok(None));
    }
}
