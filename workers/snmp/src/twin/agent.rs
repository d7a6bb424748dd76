//! From a datagram to its answer: SNMP v2c by community, v3 by USM as RFC 3414 wants it of an authoritative engine.

use super::device::Device;
use async_snmp::ber::Decoder;
use async_snmp::message::{
    CommunityMessage, CommunityPdu, Message, MsgFlags, MsgGlobalData, RawMsgData, RawV3Message,
    ScopedPdu, V3Message,
};
use async_snmp::pdu::PduBody;
use async_snmp::v3::auth::{authenticate_message, verify_message};
use async_snmp::v3::{LocalizedKey, PrivKey, SaltCounter, UsmSecurityParams, report_oids};
use async_snmp::{
    DecodeConfig, ErrorIndex, ErrorStatus, MasterKeys, MessageSize, Oid, OutboundErrorStatus, Pdu,
    PduType, ResponsePdu, SecurityLevel, Value, VarBind, Version,
};
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Varbinds of one answer; more than a datagram of 1472 bytes holds of the twin's objects.
const VARBINDS_MAX: usize = 60;
/// With the fault `too_big`.
const VARBINDS_FEW: usize = 4;
/// With the fault `no_large_bulk`.
const ROWS_FEW: u32 = 5;
/// RFC 3414 section 2.2.3.
const TIME_WINDOW_S: u32 = 150;

/// Departures from good behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bent {
    pub deny_credentials: bool,
    pub deny_sets: bool,
    pub ignore_sets: bool,
    pub too_big: bool,
    /// Refuses a GET as a whole when one object is missing, as SNMPv1 did.
    pub no_exceptions: bool,
    pub no_large_bulk: bool,
    pub loops: bool,
}

/// What came of a datagram.
pub enum Answer {
    Bytes(Vec<u8>),
    Nothing,
    /// Wrong credentials; v3 has an answer for that, v2c is silent.
    Denied(Option<Vec<u8>>),
}

/// The answer, and whether the request was a SET.
pub struct Handled {
    pub answer: Answer,
    pub was_set: bool,
}

pub enum Agent {
    Community { device: Device, community: String },
    Usm(Box<Engine>),
}

pub struct Engine {
    pub device: Device,
    id: Vec<u8>,
    user: String,
    auth: LocalizedKey,
    privacy: PrivKey,
    salt: SaltCounter,
    boots: u32,
    started: Instant,
    reports: AtomicU32,
}

impl Agent {
    pub fn device(&self) -> &Device {
        match self {
            Agent::Community { device, .. } => device,
            Agent::Usm(engine) => &engine.device,
        }
    }

    pub fn handle(&self, datagram: &[u8], bent: Bent) -> Handled {
        let data = Bytes::copy_from_slice(datagram);
        match self {
            Agent::Community { device, community } => {
                let handled = community_message(device, community, data, bent);
                handled.unwrap_or(NOTHING)
            }
            Agent::Usm(engine) => engine.handle(data, bent).unwrap_or(NOTHING),
        }
    }
}

const NOTHING: Handled = Handled {
    answer: Answer::Nothing,
    was_set: false,
};

fn community_message(device: &Device, community: &str, data: Bytes, bent: Bent) -> Option<Handled> {
    let message = Message::decode(data, DecodeConfig::DEFAULT).ok()?.value;
    let Message::Community(message) = message else {
        return None;
    };
    if message.version() != Version::V2c {
        return None;
    }
    if bent.deny_credentials || !message.community().matches(community) {
        return Some(Handled {
            answer: Answer::Denied(None),
            was_set: false,
        });
    }
    let (_, community, pdu) = message.into_parts();
    let CommunityPdu::Standard(pdu) = pdu else {
        return None;
    };
    let was_set = pdu.pdu_type() == PduType::SetRequest;
    let response = respond(device, pdu, Version::V2c, bent)?;
    let bytes = CommunityMessage::v2c(community, response.into_raw()).ok()?;
    Some(Handled {
        answer: Answer::Bytes(bytes.encode().ok()?.to_vec()),
        was_set,
    })
}

impl Engine {
    /// # Errors
    /// When the keys do not fit the engine id.
    pub fn new(device: Device, id: Vec<u8>, user: &str, keys: &MasterKeys) -> Result<Self, String> {
        let (auth, privacy) = keys.localize(&id).map_err(|e| e.to_string())?;
        Ok(Engine {
            device,
            id,
            user: user.to_owned(),
            auth,
            privacy: privacy.ok_or("keys without privacy")?,
            salt: SaltCounter::new().map_err(|e| e.to_string())?,
            boots: 3,
            started: Instant::now(),
            reports: AtomicU32::new(0),
        })
    }

    fn time(&self) -> u32 {
        // Not zero, so that a client which never learns the time is found out.
        10_000 + u32::try_from(self.started.elapsed().as_secs()).unwrap_or(0)
    }

    fn handle(&self, data: Bytes, bent: Bent) -> Option<Handled> {
        let raw = RawV3Message::decode(data.clone(), DecodeConfig::DEFAULT);
        let raw = raw.ok()?.value;
        let usm = UsmSecurityParams::decode(raw.security_params().clone(), DecodeConfig::DEFAULT);
        let usm = usm.ok()?.value;
        let level = raw.security_level();
        let asked_by = usm.username().clone();
        let report = |oid: Oid, user: &Bytes, level| {
            let bytes = self.report(&raw, oid, user, level);
            bytes.map(Answer::Bytes)
        };
        let plain = |answer: Option<Answer>| {
            answer.map(|answer| Handled {
                answer,
                was_set: false,
            })
        };
        let denied = |oid: Oid| {
            let bytes = self.report(&raw, oid, &asked_by, SecurityLevel::NoAuthNoPriv)?;
            Some(Handled {
                answer: Answer::Denied(Some(bytes)),
                was_set: false,
            })
        };
        if usm.engine_id().as_ref() != self.id.as_slice() {
            let oid = report_oids::unknown_engine_ids();
            return plain(report(oid, &Bytes::new(), SecurityLevel::NoAuthNoPriv));
        }
        if usm.username().as_ref() != self.user.as_bytes() {
            return denied(report_oids::unknown_user_names());
        }
        if level != SecurityLevel::AuthPriv {
            return denied(report_oids::unsupported_sec_levels());
        }
        let (offset, length) = UsmSecurityParams::find_auth_params_offset(&data)?;
        let authentic = verify_message(&self.auth, &data, offset, length).ok()?;
        if !authentic || bent.deny_credentials {
            return denied(report_oids::wrong_digests());
        }
        let away = usm.engine_time().abs_diff(self.time());
        if usm.engine_boots() != self.boots || away > TIME_WINDOW_S {
            let oid = report_oids::not_in_time_windows();
            return plain(report(oid, &asked_by, SecurityLevel::AuthNoPriv));
        }
        let RawMsgData::Encrypted(cipher) = raw.msg_data() else {
            return None;
        };
        let plaintext = self.privacy.decrypt(
            cipher,
            usm.engine_boots(),
            usm.engine_time(),
            usm.priv_params(),
        );
        let scoped = ScopedPdu::decode(&mut Decoder::new(plaintext.ok()?)).ok()?;
        let was_set = scoped.pdu.pdu_type() == PduType::SetRequest;
        let response = respond(&self.device, scoped.pdu, Version::V3, bent)?;
        let scoped = ScopedPdu::new(self.id.clone(), scoped.context_name, response.into_raw());
        let bytes = self.seal(&raw, scoped, asked_by.clone(), SecurityLevel::AuthPriv)?;
        Some(Handled {
            answer: Answer::Bytes(bytes),
            was_set,
        })
    }

    /// A report names the user that asked; discovery has none.
    fn report(
        &self,
        to: &RawV3Message,
        oid: Oid,
        user: &Bytes,
        level: SecurityLevel,
    ) -> Option<Vec<u8>> {
        let count = self.reports.fetch_add(1, Ordering::Relaxed) + 1;
        let varbind = VarBind::new(oid, Value::Counter32(count));
        let pdu = ResponsePdu::report(0, vec![varbind]).ok()?;
        let scoped = ScopedPdu::new(self.id.clone(), Bytes::new(), pdu.into_raw());
        self.seal(to, scoped, user.clone(), level)
    }

    fn seal(
        &self,
        to: &RawV3Message,
        scoped: ScopedPdu,
        user: Bytes,
        level: SecurityLevel,
    ) -> Option<Vec<u8>> {
        let size = MessageSize::new(1_472).ok()?;
        let flags = MsgFlags::new(level, false);
        let header = MsgGlobalData::new(to.msg_id(), size, flags).ok()?;
        let time = self.time();
        let mut usm = UsmSecurityParams::new(self.id.clone(), self.boots, time, user).ok()?;
        if level.requires_auth() {
            usm = usm.with_auth_placeholder(self.auth.mac_len()).ok()?;
        }
        let message = if level.requires_priv() {
            let plain = scoped.encode_to_bytes().ok()?;
            let sealed = self
                .privacy
                .encrypt_aes(&plain, self.boots, time, &self.salt);
            let (cipher, salt) = sealed.ok()?;
            let usm = usm.with_priv_params(salt).ok()?.encode().ok()?;
            V3Message::new_with_opaque_encrypted_scoped_pdu(header, usm, cipher)
        } else {
            V3Message::new(header, usm.encode().ok()?, scoped)
        };
        let mut bytes = message.ok()?.encode().ok()?.to_vec();
        if level.requires_auth() {
            let (offset, length) = UsmSecurityParams::find_auth_params_offset(&bytes)?;
            authenticate_message(&self.auth, &mut bytes, offset, length).ok()?;
        }
        Some(bytes)
    }
}

fn respond(device: &Device, pdu: Pdu, version: Version, bent: Bent) -> Option<ResponsePdu> {
    let (id, body, asked) = pdu.into_raw_parts();
    let kind = match body {
        PduBody::GetBulk {
            non_repeaters,
            max_repetitions,
        } => {
            if bent.no_large_bulk && max_repetitions > ROWS_FEW {
                return None;
            }
            let given = bulk(device, &asked, non_repeaters, max_repetitions, bent);
            return fit(version, id, given, bent);
        }
        PduBody::Standard { pdu_type, .. } => pdu_type.pdu_type(),
    };
    match kind {
        PduType::GetRequest => {
            let value = |v: &VarBind| VarBind::new(v.oid.clone(), device.get(&v.oid));
            let given: Vec<VarBind> = asked.iter().map(value).collect();
            let missing = given.iter().position(|v| v.value == Value::NoSuchInstance);
            if let Some(at) = missing.filter(|_| bent.no_exceptions) {
                let index = ErrorIndex::new(u32::try_from(at).ok()? + 1, asked.len()).ok()?;
                let status = OutboundErrorStatus::NoSuchName;
                return ResponsePdu::new(version, id, status, Some(index), asked).ok();
            }
            fit(version, id, given, bent)
        }
        PduType::GetNextRequest => {
            let given = bulk(device, &asked, 0, 1, bent);
            fit(version, id, given, bent)
        }
        PduType::SetRequest => {
            for (at, varbind) in asked.iter().enumerate() {
                let done = if bent.deny_sets {
                    Err(ErrorStatus::NoAccess)
                } else {
                    device.set(&varbind.oid, &varbind.value, bent.ignore_sets)
                };
                if let Err(status) = done {
                    let status = OutboundErrorStatus::try_from(status).ok()?;
                    let index = ErrorIndex::new(u32::try_from(at).ok()? + 1, asked.len()).ok()?;
                    return ResponsePdu::new(version, id, status, Some(index), asked).ok();
                }
            }
            ResponsePdu::success(version, id, asked).ok()
        }
        _ => None,
    }
}

fn fit(version: Version, id: i32, given: Vec<VarBind>, bent: Bent) -> Option<ResponsePdu> {
    if bent.too_big && given.len() > VARBINDS_FEW {
        return ResponsePdu::too_big(version, id, Vec::new()).ok();
    }
    ResponsePdu::success(version, id, given).ok()
}

fn bulk(device: &Device, asked: &[VarBind], single: u32, rows: u32, bent: Bent) -> Vec<VarBind> {
    let single = (single as usize).min(asked.len());
    let mut given: Vec<VarBind> = asked[..single]
        .iter()
        .map(|v| device.next(&v.oid))
        .collect();
    let mut cursors: Vec<Oid> = asked[single..].iter().map(|v| v.oid.clone()).collect();
    for _ in 0..rows {
        for cursor in &mut cursors {
            let next = device.next(cursor);
            if bent.loops {
                // The same rows again and again.
                given.push(next);
                continue;
            }
            cursor.clone_from(&next.oid);
            given.push(next);
        }
        let over = given.iter().rev().take(cursors.len());
        if given.len() + cursors.len() > VARBINDS_MAX
            || over.clone().all(|v| v.value == Value::EndOfMibView)
        {
            break;
        }
    }
    given
}
