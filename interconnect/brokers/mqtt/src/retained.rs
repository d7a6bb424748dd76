//! What this process has retained, so that a broker that forgot it is told again: one that keeps nothing on its disk
//! forgets all with a restart, and one that does forgets what it had not written yet.

use crate::error::MqttError;
use crate::limits::KEYS_MAX;
use crate::names::Names;
use crate::session::Session;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Retained {
    /// By key; None was taken away, which a broker may have forgotten as well.
    said: BTreeMap<String, Option<Bytes>>,
}

impl Retained {
    /// # Errors
    /// When there are too many.
    pub fn remember(&mut self, key: &str, value: Option<Bytes>) -> Result<(), MqttError> {
        if self.said.len() >= KEYS_MAX && !self.said.contains_key(key) {
            // Those taken away longest ago are worth least; by name is near enough.
            let gone = self.said.iter().find(|(_, value)| value.is_none());
            let gone = gone.map(|(key, _)| key.clone()).ok_or(MqttError::Keys)?;
            self.said.remove(&gone);
        }
        self.said.insert(key.to_owned(), value);
        Ok(())
    }

    pub fn all(&self) -> Vec<(String, Option<Bytes>)> {
        self.said.clone().into_iter().collect()
    }
}

/// Tells the broker all of them.
///
/// # Errors
/// When the connection is gone; a value that the broker refuses keeps no other from being said.
pub(crate) async fn say_again(
    session: &Session,
    names: &Names,
    all: Vec<(String, Option<Bytes>)>,
) -> Result<(), Arc<MqttError>> {
    let mut sent = Vec::with_capacity(all.len());
    for (key, value) in all {
        let topic = names.key(&key)?;
        match session
            .publish(&topic, value.unwrap_or_default(), true, None)
            .await
        {
            Ok(published) => sent.push(published),
            Err(why) => refused(session, &why)?,
        }
    }
    for published in sent {
        if let Err(why) = session.answer(published).await {
            refused(session, &why)?;
        }
    }
    Ok(())
}

fn refused(session: &Session, why: &Arc<MqttError>) -> Result<(), Arc<MqttError>> {
    match session.why_dead() {
        Some(why) => Err(why),
        None => {
            tracing::warn!(error = why.text(), "the MQTT broker does not keep a value");
            Ok(())
        }
    }
}
