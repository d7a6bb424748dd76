//! Events as plain messages of NATS: whoever listens hears them, and whoever wants them kept makes a stream of
//! `<prefix>.v1.>`. No stream is made here: how long and how much is for those who follow.

use crate::broker::NatsBroker;
use crate::error::away;
use crate::limits::CONFIRM_MAX;
use crate::publish::{fits, late};
use futures::future::{BoxFuture, FutureExt as _};
use sengu_interconnect::BrokerError;
use sengu_interconnect::events::{Followers, Told};
use tokio::time::timeout;

impl Followers for NatsBroker {
    fn tell(&self, batch: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let conn = self.joined()?;
            let prefix = conn.names.prefix();
            for told in &batch {
                fits(&conn, &told.body)?;
            }
            for told in batch {
                let subject = told.topic.encoded(prefix, '.');
                let sent = timeout(CONFIRM_MAX, conn.client.publish(subject, told.body));
                if !matches!(sent.await, Ok(Ok(()))) {
                    return Err(away(late()));
                }
            }
            conn.echo().await.map_err(away)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        let prefix = self.prefix();
        vec![
            format!(
                "those that are away when something happens are not told later, unless you keep a stream of {prefix}.v1.>"
            ),
            "no latest values: NATS keeps none outside of streams".to_owned(),
        ]
    }
}
