//! The Followers port: what happened, told to whoever follows with a standard client of the broker (a dashboard, a data
//! lake, a person with `mosquitto_sub`). One way only: sengu never reads what it told here, and must never wait for it
//! with anything that a task needs.

use crate::BrokerError;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt;

/// Where an event is told: levels below the prefix, such as `v1`, `result`, `tyo1`, `rack4-pdu1`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Vec<Box<str>>);

impl Topic {
    /// Levels are names as people gave them: not empty, any characters. Drivers write each in a form that their broker
    /// takes (see `encoded`).
    pub fn new(levels: &[&str]) -> Topic {
        debug_assert!(levels.iter().all(|level| !level.is_empty()));
        Topic(levels.iter().map(|level| (*level).into()).collect())
    }

    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|level| &**level)
    }

    /// The whole topic with `separator` between levels; `%XX` stands for each byte in a level that is the separator, a
    /// wildcard of MQTT or NATS (`+ # * >`), `%`, white space, control or not ASCII.
    pub fn encoded(&self, prefix: &str, separator: char) -> String {
        use fmt::Write as _;
        let mut text = prefix.to_owned();
        for level in self.levels() {
            text.push(separator);
            for byte in level.bytes() {
                let plain = byte.is_ascii_graphic()
                    && !matches!(byte, b'+' | b'#' | b'*' | b'>' | b'%' | b'$')
                    && char::from(byte) != separator;
                match plain {
                    true => text.push(char::from(byte)),
                    false => {
                        let _ = write!(text, "%{byte:02X}");
                    }
                }
            }
        }
        text
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encoded("", '/'))
    }
}

/// Whether those who come later want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is an event: told once.
    No,
    /// It is the latest value of its topic, kept by brokers that can (MQTT). An empty body takes it away.
    Latest,
}

/// One event; the body is a CloudEvent as JSON.
#[derive(Debug, Clone)]
pub struct Told {
    pub topic: Topic,
    pub keep: Keep,
    pub body: Bytes,
}

pub trait Followers: Send + Sync + 'static {
    /// Resolves when the broker has taken all of them over. On an error some may have been taken: telling them again is
    /// right, since events carry ids. Events of one topic keep their order.
    fn tell(&self, batch: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// What followers by this broker do not get, in words for people.
    fn lacks(&self) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_make_levels_or_wildcards() {
        let topic = Topic::new(&["v1", "result", "a.b", "x/+#*> %é\n"]);
        assert_eq!(
            topic.encoded("sengu", '/'),
            "sengu/v1/result/a.b/x%2F%2B%23%2A%3E%20%25%C3%A9%0A"
        );
        assert_eq!(
            topic.encoded("sengu", '.'),
            "sengu.v1.result.a%2Eb/"
                .to_owned()
                .trim_end_matches('/')
                .to_owned()
                + ".x/%2B%23%2A%3E%20%25%C3%A9%0A"
        );
    }
}
