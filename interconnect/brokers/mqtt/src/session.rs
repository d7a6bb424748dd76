//! One connection to a broker, from CONNECT to its end. It is never repaired: when it ends, all that it was asked for and
//! has not answered has failed, and a new one is made.
//!
//! Publishes go out as they come, as many at once as the broker takes, and end with the reason that the broker gave. One
//! task reads, writes and listens for requests at once, so that a broker that is slow in one direction never stops the
//! other.

use crate::error::MqttError;
use crate::limits::{
    CLOSE_MAX, CONNECT_MAX, OUT_BYTES_MAX, PACKET_BYTES_MAX, Pace, READ_BYTES, REQUESTS_AT_ONCE,
    WINDOW_MAX, WINDOW_UNNAMED,
};
use crate::wire::{Quick, Stream, Way};
use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, ConnectReturnCode, Disconnect,
    DisconnectReasonCode, Filter, Login, Packet, PingReq, PubAck, PubAckReason, Publish,
    PublishProperties, RetainForwardRule, SubAck, Subscribe, SubscribeReasonCode, Unsubscribe,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// What is done with each message that arrives, at once and without waiting.
pub(crate) type OnPublish = Box<dyn FnMut(Publish) + Send>;

pub(crate) struct Wish {
    pub client_id: String,
    pub pace: Pace,
    pub on_publish: OnPublish,
}

/// What the broker said of itself when it let us in.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub window: u16,
    pub packet_bytes_max: usize,
    pub retained: bool,
    pub shared: bool,
    pub wildcards: bool,
    pub qos: u8,
}

pub(crate) struct Session {
    requests: mpsc::UnboundedSender<Request>,
    /// Bounds how many publishes are requested or on their way; acks are bounded by what the broker may send.
    window: Arc<Semaphore>,
    pub granted: Granted,
    dead: watch::Receiver<Option<Arc<MqttError>>>,
}

/// The answer to come to one publish.
pub(crate) struct Published {
    topic: String,
    answer: oneshot::Receiver<PubAckReason>,
}

enum Request {
    Publish(Box<Publish>, Waiting),
    Subscribe(Filter, oneshot::Sender<SubscribeReasonCode>),
    Unsubscribe(String, oneshot::Sender<()>),
    Ack(u16),
}

enum Waiting {
    Publish {
        answer: oneshot::Sender<PubAckReason>,
        _permit: OwnedSemaphorePermit,
    },
    Subscribe(oneshot::Sender<SubscribeReasonCode>),
    Unsubscribe(oneshot::Sender<()>),
}

impl Session {
    /// # Errors
    /// Why the broker cannot be used, or cannot be reached.
    pub async fn open(way: &Way, wish: Wish) -> Result<Session, MqttError> {
        let (stream, quick) = way.stream().await?;
        Session::over(way, stream, quick, wish).await
    }

    pub async fn over(
        way: &Way,
        mut stream: Stream,
        quick: Quick,
        wish: Wish,
    ) -> Result<Session, MqttError> {
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let hello = hello(way, wish.client_id, wish.pace, &mut stream, &mut incoming);
        let late = |_| MqttError::Late {
            ms: CONNECT_MAX.as_millis(),
        };
        let connack = timeout(CONNECT_MAX, hello).await.map_err(late)??;
        let granted = granted(&connack);
        let (requests, asked) = mpsc::unbounded_channel();
        let (tell_dead, dead) = watch::channel(None);
        let window = Arc::new(Semaphore::new(usize::from(granted.window)));
        let line = Line {
            incoming,
            outgoing: BytesMut::new(),
            waiting: HashMap::new(),
            pkid: 0,
            heard: Instant::now(),
            pace: wish.pace,
            on_publish: wish.on_publish,
        };
        let closing = window.clone();
        tokio::spawn(async move {
            let why = line.run(stream, quick, asked).await;
            tell_dead.send_replace(Some(Arc::new(why)));
            closing.close();
        });
        Ok(Session {
            requests,
            window,
            granted,
            dead,
        })
    }

    pub fn why_dead(&self) -> Option<Arc<MqttError>> {
        self.dead.borrow().clone()
    }

    fn why(&self) -> Arc<MqttError> {
        self.why_dead()
            .unwrap_or_else(|| Arc::new(MqttError::Closed))
    }

    pub async fn died(&self) -> Arc<MqttError> {
        let mut dead = self.dead.clone();
        match dead.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.clone(),
            _ => Arc::new(MqttError::Closed),
        }
    }

    /// # Errors
    /// When the broker would not take so much.
    pub fn fits(&self, topic: &str, body: &Bytes) -> Result<(), MqttError> {
        // Fixed header, lengths, packet id and the properties that are ever set here.
        let bytes = topic.len() + body.len() + 64;
        let bytes_max = self.granted.packet_bytes_max;
        match bytes <= bytes_max {
            true => Ok(()),
            false => Err(MqttError::TooLarge { bytes, bytes_max }),
        }
    }

    /// Sends with QoS 1 once there is room in the window; messages sent one after another arrive in this order.
    ///
    /// # Errors
    /// When it is too large, or the connection is gone.
    pub async fn publish(
        &self,
        topic: &str,
        body: Bytes,
        retain: bool,
        properties: Option<PublishProperties>,
    ) -> Result<Published, Arc<MqttError>> {
        self.fits(topic, &body)?;
        let permit = self.window.clone().acquire_owned().await;
        let permit = permit.map_err(|_| self.why())?;
        let publish = Publish {
            qos: QoS::AtLeastOnce,
            retain,
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            payload: body,
            properties,
            ..Publish::default()
        };
        let (tell, answer) = oneshot::channel();
        let waiting = Waiting::Publish {
            answer: tell,
            _permit: permit,
        };
        self.ask(Request::Publish(Box::new(publish), waiting))?;
        Ok(Published {
            topic: topic.to_owned(),
            answer,
        })
    }

    fn ask(&self, request: Request) -> Result<(), Arc<MqttError>> {
        self.requests.send(request).map_err(|_| self.why())
    }

    /// Whether anybody was there to get it.
    ///
    /// # Errors
    /// When the broker refused it, or the connection is gone before its answer.
    pub async fn answer(&self, published: Published) -> Result<bool, Arc<MqttError>> {
        match published.answer.await {
            Ok(PubAckReason::Success) => Ok(true),
            Ok(PubAckReason::NoMatchingSubscribers) => Ok(false),
            Ok(reason) => {
                let topic = published.topic;
                Err(Arc::new(MqttError::Publish { topic, reason }))
            }
            Err(_) => Err(self.why()),
        }
    }

    /// # Errors
    /// When the broker does not allow it, or the connection is gone.
    pub async fn subscribe(
        &self,
        filter: &str,
        qos: QoS,
        retained: RetainForwardRule,
    ) -> Result<(), Arc<MqttError>> {
        let mut wanted = Filter::new(filter, qos);
        wanted.retain_forward_rule = retained;
        let (tell, answer) = oneshot::channel();
        self.ask(Request::Subscribe(wanted, tell))?;
        match answer.await {
            Ok(SubscribeReasonCode::Success(_)) => Ok(()),
            Ok(reason) => Err(Arc::new(MqttError::Subscribe {
                filter: filter.to_owned(),
                reason,
            })),
            Err(_) => Err(self.why()),
        }
    }

    /// Resolves when the broker has done it; what is sent after the call comes after it.
    pub fn unsubscribe(&self, filter: &str) -> oneshot::Receiver<()> {
        let (tell, answer) = oneshot::channel();
        // A connection that is gone is subscribed to nothing.
        let _ = self.ask(Request::Unsubscribe(filter.to_owned(), tell));
        answer
    }

    pub fn ack(&self, pkid: u16) {
        // A connection that is gone has nothing to ack.
        let _ = self.ask(Request::Ack(pkid));
    }
}

async fn hello(
    way: &Way,
    client_id: String,
    pace: Pace,
    stream: &mut Stream,
    incoming: &mut BytesMut,
) -> Result<ConnAck, MqttError> {
    let mut properties = ConnectProperties::new();
    properties.receive_maximum = Some(WINDOW_MAX);
    properties.max_packet_size = Some(PACKET_BYTES_MAX);
    let keep_alive = pace.alive_every.as_secs().max(1) * 2;
    let connect = Connect {
        client_id,
        keep_alive: u16::try_from(keep_alive).unwrap_or(u16::MAX),
        clean_start: true,
        properties: Some(properties),
    };
    let address = &way.address;
    let password = address.password.as_ref().map_or("", |p| p.reveal());
    let login = (address.user.is_some() || address.password.is_some())
        .then(|| Login::new(address.user.clone().unwrap_or_default(), password));
    let mut bytes = BytesMut::new();
    write(&Packet::Connect(connect, None, login), &mut bytes)?;
    stream.write_all(&bytes).await.map_err(MqttError::Broken)?;
    let frame = loop {
        if let Some(frame) = frame(incoming)? {
            break frame;
        }
        let read = stream.read_buf(incoming).await.map_err(MqttError::Broken)?;
        if read == 0 {
            return Err(MqttError::Closed);
        }
    };
    // An older broker refuses in the form of its own version: two bytes after the header, and the first of reasons.
    if matches!(frame[..], [0x20, 2, _, 1]) {
        return Err(MqttError::Version);
    }
    let Packet::ConnAck(connack) = read(frame)? else {
        return Err(MqttError::Protocol("no CONNACK after CONNECT".to_owned()));
    };
    match connack.code {
        ConnectReturnCode::Success => Ok(connack),
        ConnectReturnCode::BadUserNamePassword => Err(MqttError::SignIn),
        // Brokers say so, too, of a wrong password.
        ConnectReturnCode::NotAuthorized if address.password.is_some() => Err(MqttError::SignIn),
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => {
            Err(MqttError::NotAuthorised)
        }
        ConnectReturnCode::RefusedProtocolVersion
        | ConnectReturnCode::UnsupportedProtocolVersion => Err(MqttError::Version),
        code => Err(MqttError::Refused(code)),
    }
}

fn granted(connack: &ConnAck) -> Granted {
    let properties = connack.properties.as_ref();
    let yes = |of: fn(&ConnAckProperties) -> Option<u8>| properties.and_then(of) != Some(0);
    let window = properties.and_then(|p| p.receive_max);
    let packet_bytes_max = properties.and_then(|p| p.max_packet_size);
    let packet_bytes_max = packet_bytes_max.map_or(PACKET_BYTES_MAX, |m| m.min(PACKET_BYTES_MAX));
    Granted {
        window: window.unwrap_or(WINDOW_UNNAMED).clamp(1, WINDOW_MAX),
        packet_bytes_max: packet_bytes_max as usize,
        retained: yes(|p| p.retain_available),
        shared: yes(|p| p.shared_subscription_available),
        wildcards: yes(|p| p.wildcard_subscription_available),
        qos: properties.and_then(|p| p.max_qos).unwrap_or(2),
    }
}

/// The next whole packet. The codec is only given whole ones: it takes what ends too soon for what is still to come.
fn frame(incoming: &mut BytesMut) -> Result<Option<BytesMut>, MqttError> {
    let mut length = 0usize;
    for at in 1..=4 {
        let Some(byte) = incoming.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            if length > PACKET_BYTES_MAX as usize {
                return Err(MqttError::Protocol(format!("a packet of {length} bytes")));
            }
            let whole = at + 1 + length;
            if incoming.len() < whole {
                incoming.reserve(whole - incoming.len());
                return Ok(None);
            }
            return Ok(Some(incoming.split_to(whole)));
        }
    }
    Err(MqttError::Protocol("a packet without an end".to_owned()))
}

fn read(mut frame: BytesMut) -> Result<Packet, MqttError> {
    let packet = Packet::read(&mut frame, None);
    packet.map_err(|error| MqttError::Protocol(error.to_string()))
}

fn write(packet: &Packet, outgoing: &mut BytesMut) -> Result<(), MqttError> {
    let written = packet.write(outgoing, None);
    written.map_err(|error| MqttError::Protocol(error.to_string()))?;
    Ok(())
}

struct Line {
    incoming: BytesMut,
    outgoing: BytesMut,
    waiting: HashMap<u16, Waiting>,
    /// The last that was given to a request.
    pkid: u16,
    heard: Instant,
    pace: Pace,
    on_publish: OnPublish,
}

impl Line {
    /// Until it ends, and why it did.
    async fn run(
        mut self,
        stream: Stream,
        quick: Quick,
        mut asked: mpsc::UnboundedReceiver<Request>,
    ) -> MqttError {
        let (mut from, mut to) = tokio::io::split(stream);
        let mut requests = Vec::with_capacity(REQUESTS_AT_ONCE);
        let mut ping = interval(self.pace.alive_every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once.
        ping.tick().await;
        quick.ack();
        if let Err(why) = self.take_in() {
            return why;
        }
        loop {
            self.incoming.reserve(READ_BYTES);
            let done = tokio::select! {
                read = from.read_buf(&mut self.incoming) => match read {
                    Ok(0) => Err(MqttError::Closed),
                    Ok(_) => {
                        quick.ack();
                        self.take_in()
                    }
                    Err(error) => Err(MqttError::Broken(error)),
                },
                written = to.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                    written.map(|_| ()).map_err(MqttError::Broken)
                }
                count = asked.recv_many(&mut requests, REQUESTS_AT_ONCE),
                    if self.outgoing.len() < OUT_BYTES_MAX =>
                {
                    if count == 0 {
                        self.close(&mut to).await;
                        return MqttError::Closing;
                    }
                    requests.drain(..).try_for_each(|request| self.send(request))
                }
                _ = ping.tick() => self.ping(),
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    fn ping(&mut self) -> Result<(), MqttError> {
        let silent = self.heard.elapsed();
        if silent >= self.pace.silence_max {
            let ms = silent.as_millis();
            return Err(MqttError::Silent { ms });
        }
        write(&Packet::PingReq(PingReq), &mut self.outgoing)
    }

    async fn close(&mut self, to: &mut (impl AsyncWriteExt + Unpin)) {
        let end = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        let _ = write(&Packet::Disconnect(end), &mut self.outgoing);
        // A broker that does not read any more is left without a word.
        let goodbye = async {
            let _ = to.write_all_buf(&mut self.outgoing).await;
            let _ = to.shutdown().await;
        };
        let _ = timeout(CLOSE_MAX, goodbye).await;
    }

    fn next_pkid(&mut self) -> u16 {
        // The window is far smaller than the number of ids, so that one is free.
        loop {
            self.pkid = self.pkid.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.pkid) {
                return self.pkid;
            }
        }
    }

    fn send(&mut self, request: Request) -> Result<(), MqttError> {
        let pkid = match request {
            Request::Ack(_) => 0,
            _ => self.next_pkid(),
        };
        let (packet, waiting) = match request {
            Request::Publish(mut publish, waiting) => {
                publish.pkid = pkid;
                (Packet::Publish(*publish), waiting)
            }
            Request::Subscribe(filter, answer) => {
                let mut subscribe = Subscribe::new(filter, None);
                subscribe.pkid = pkid;
                (Packet::Subscribe(subscribe), Waiting::Subscribe(answer))
            }
            Request::Unsubscribe(filter, answer) => {
                let mut unsubscribe = Unsubscribe::new(filter, None);
                unsubscribe.pkid = pkid;
                (
                    Packet::Unsubscribe(unsubscribe),
                    Waiting::Unsubscribe(answer),
                )
            }
            Request::Ack(pkid) => {
                return write(&Packet::PubAck(PubAck::new(pkid, None)), &mut self.outgoing);
            }
        };
        self.waiting.insert(pkid, waiting);
        write(&packet, &mut self.outgoing)
    }

    /// All whole packets that have arrived.
    fn take_in(&mut self) -> Result<(), MqttError> {
        while let Some(frame) = frame(&mut self.incoming)? {
            self.heard = Instant::now();
            match read(frame)? {
                Packet::Publish(publish) => (self.on_publish)(publish),
                Packet::PubAck(PubAck { pkid, reason, .. }) => match self.waiting.remove(&pkid) {
                    Some(Waiting::Publish { answer, .. }) => {
                        let _ = answer.send(reason);
                    }
                    _ => return Err(MqttError::Protocol("a PUBACK for nothing".to_owned())),
                },
                Packet::SubAck(SubAck {
                    pkid, return_codes, ..
                }) => match (self.waiting.remove(&pkid), return_codes.first()) {
                    (Some(Waiting::Subscribe(answer)), Some(reason)) => {
                        let _ = answer.send(*reason);
                    }
                    _ => return Err(MqttError::Protocol("a SUBACK for nothing".to_owned())),
                },
                Packet::UnsubAck(unsuback) => match self.waiting.remove(&unsuback.pkid) {
                    Some(Waiting::Unsubscribe(answer)) => {
                        let _ = answer.send(());
                    }
                    _ => return Err(MqttError::Protocol("an UNSUBACK for nothing".to_owned())),
                },
                Packet::PingResp(_) => {}
                Packet::Disconnect(end) => return Err(MqttError::Ended(end.reason_code)),
                _ => {
                    return Err(MqttError::Protocol(
                        "a packet that no broker sends".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_whole_and_none_is_longer_than_allowed() {
        let mut bytes = BytesMut::from(&[0xd0, 0, 0x40, 2, 0][..]);
        assert_eq!(frame(&mut bytes).unwrap().unwrap()[..], [0xd0, 0]);
        assert!(frame(&mut bytes).unwrap().is_none());
        bytes.extend_from_slice(&[7]);
        assert_eq!(frame(&mut bytes).unwrap().unwrap().len(), 4);
        for bad in [
            [0x30, 0xff, 0xff, 0xff, 0x7f],
            [0x30, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(frame(&mut BytesMut::from(&bad[..])).is_err());
        }
    }

    #[test]
    fn what_ends_too_soon_is_an_error_and_not_waited_for() {
        // A publish whose topic is longer than the packet; one whose properties are.
        for bad in [&[0x30, 3, 0, 9, b'x'][..], &[0x30, 4, 0, 1, b'x', 0x80]] {
            let whole = frame(&mut BytesMut::from(bad)).unwrap().unwrap();
            assert!(read(whole).is_err());
        }
    }
}
