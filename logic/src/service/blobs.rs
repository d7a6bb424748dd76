//! Gives the execution environments the images that they ask for, part by part, over the interconnect: they need no
//! other way to logic, whatever broker is between.

use crate::core::Shared;
use crate::service::parked;
use crate::workers;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sengu_interconnect::{BrokerError, Message, Queue};
use sengu_model::limits;
use sengu_model::wire::envelope::{BlobRequest, VERSION, WeeCommand};
use std::sync::Arc;
use std::time::Duration;

/// Requests taken at once; each answer is held in memory until it is sent.
const CREDIT: u32 = 16;

pub async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = serve(&shared).await {
            tracing::warn!(%error, "requests for images cannot be received");
        }
        tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
    }
}

async fn serve(shared: &Arc<Shared>) -> Result<(), BrokerError> {
    let mut requests = shared.broker.subscribe(Queue::blobs(), CREDIT).await?;
    loop {
        for delivery in requests.receive(CREDIT as usize).await? {
            match serde_json::from_slice::<BlobRequest>(&delivery.body) {
                Ok(request) if request.v == VERSION => answer(shared, request).await?,
                Ok(request) => {
                    let why = format!("a request of version {} is not known", request.v);
                    put_aside(shared, &why, &delivery.body).await;
                }
                Err(error) => put_aside(shared, &error.to_string(), &delivery.body).await,
            }
            requests.ack(&[delivery.tag])?;
        }
    }
}

async fn put_aside(shared: &Shared, why: &str, body: &[u8]) {
    tracing::warn!(why, "request for an image not understood");
    if let Some(op) = parked::aside(shared, &Queue::blobs(), why, body)
        && let Err(error) = shared.store.commit(vec![op].into()).await
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "what was put aside cannot be kept");
    }
}

async fn answer(shared: &Arc<Shared>, request: BlobRequest) -> Result<(), BrokerError> {
    let BlobRequest {
        wee,
        digest,
        offset,
        ..
    } = request;
    let part = async {
        let total = workers::import(shared, &digest).await?;
        let part = shared
            .blobs()
            .read(&digest, offset, limits::BLOB_PART_BYTES)
            .await?;
        Ok::<_, sengu_store::blobs::BlobError>((total, part))
    };
    let command = match part.await {
        Ok((total, part)) => WeeCommand::BlobPart {
            digest,
            offset,
            total,
            data: BASE64_STANDARD.encode(&part),
            error: None,
        },
        Err(error) => {
            tracing::warn!(%error, wee, "an image was asked for and cannot be given");
            WeeCommand::BlobPart {
                digest,
                offset,
                total: 0,
                data: String::new(),
                error: Some(error.to_string()),
            }
        }
    };
    let body = serde_json::to_vec(&command).unwrap_or_default();
    let message = Message {
        queue: Queue::wee(&wee),
        body: body.into(),
    };
    shared.broker.publish(vec![message]).await
}
