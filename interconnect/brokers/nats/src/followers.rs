//! Events as plain messages of NATS: whoever listens hears them, and whoever wants them kept makes a stream of
//! `<prefix>.v1.>`. No stream is made here: how long and how much is for those who follow.

use crate::broker::NatsBroker;
use crate::error::away;
use crate::publish::fits;
use futures::future::{BoxFuture, FutureExt as _};
use sengu_interconnect::BrokerError;
use sengu_interconnect::events::{Followers, Told};

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
                let sent = conn.client.publish(subject, told.body).await;
                sent.map_err(|_| away(conn.gone()))?;
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
