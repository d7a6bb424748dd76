//! The hello: both ends agree on a version and prove to each other that they know the join token, without saying it.
//! Its frames never change, so that ends of any two versions can tell each other why they cannot talk.

use crate::error::LinkError;
use crate::frame::{self, Fields};
use crate::inbound::Inbound;
use crate::limits::{HELLO_BYTES_MAX, HELLO_MAX, NAME_BYTES_MAX, VERSION_MAX, VERSION_MIN};
use crate::token::{JoinToken, Side, Transcript, random};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 10] = *b"sengu-link";
const HELLO: u8 = 1;
const CHALLENGE: u8 = 2;
const PROOF: u8 = 3;
const WELCOME: u8 = 4;
const REFUSED: u8 = 5;

const REFUSED_TOKEN: u8 = 1;
const REFUSED_VERSION: u8 = 2;
const REFUSED_OTHER: u8 = 3;
/// Text of a refusal, in bytes.
const WHY_BYTES_MAX: usize = 512;

/// Who joins.
#[derive(Debug, Clone)]
pub struct Joining {
    pub name: String,
    /// Tells the lives of one name apart, and stays the same over reconnections of one life.
    pub incarnation: u64,
}

/// What a connection has of the TLS session that it runs in, or zeros.
pub type Channel = [u8; 32];

pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The joining end's part.
///
/// # Errors
/// `Token` when the other end says so, `Impostor` when it cannot prove that it knows the token itself.
pub async fn join<R, W>(
    inbound: &mut Inbound<R>,
    write: &mut W,
    joining: &Joining,
    token: &JoinToken,
    channel: Channel,
) -> Result<(), LinkError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let versions = (VERSION_MIN, VERSION_MAX);
    let joining_nonce = nonce()?;
    send(write, HELLO, |out| {
        out.put_u16_le(versions.0);
        out.put_u16_le(versions.1);
        out.put_u64_le(joining.incarnation);
        out.put_slice(&joining_nonce);
        frame::put_bytes(out, joining.name.as_bytes());
    })
    .await?;
    let mut challenge = expect(inbound, CHALLENGE).await?;
    let version = u16::from_le_bytes(challenge.array()?);
    let serving_nonce = challenge.array()?;
    challenge.end()?;
    if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
        return Err(LinkError::Version {
            min: version,
            max: version,
        });
    }
    let said = Transcript {
        versions,
        version,
        incarnation: joining.incarnation,
        joining_nonce,
        serving_nonce,
        channel,
        name: &joining.name,
    };
    let proof = token.prove(Side::Joining, &said);
    send(write, PROOF, |out| out.put_slice(&proof)).await?;
    let mut welcome = expect(inbound, WELCOME).await?;
    let proof: [u8; 32] = welcome.array()?;
    welcome.end()?;
    if token.is_proven(Side::Serving, &said, &proof) {
        Ok(())
    } else {
        Err(LinkError::Impostor)
    }
}

/// The serving end's part.
///
/// # Errors
/// When the other end is not to be let in; it was told why as far as it may know.
pub async fn serve<R, W>(
    inbound: &mut Inbound<R>,
    write: &mut W,
    token: &JoinToken,
    channel: Channel,
) -> Result<Joining, LinkError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut hello = expect(inbound, HELLO).await?;
    let versions = (
        u16::from_le_bytes(hello.array()?),
        u16::from_le_bytes(hello.array()?),
    );
    let version = versions.1.min(VERSION_MAX);
    if version < versions.0.max(VERSION_MIN) {
        // The rest of a hello of another time is not looked at.
        refuse_with(write, REFUSED_VERSION, |out| {
            out.put_u16_le(VERSION_MIN);
            out.put_u16_le(VERSION_MAX);
        })
        .await;
        let (min, max) = versions;
        return Err(LinkError::Version { min, max });
    }
    let incarnation = u64::from_le_bytes(hello.array()?);
    let joining_nonce = hello.array()?;
    let name = hello.text(HELLO_BYTES_MAX)?;
    hello.end()?;
    let serving_nonce = nonce()?;
    send(write, CHALLENGE, |out| {
        out.put_u16_le(version);
        out.put_slice(&serving_nonce);
    })
    .await?;
    let mut answer = expect(inbound, PROOF).await?;
    let proof: [u8; 32] = answer.array()?;
    answer.end()?;
    let said = Transcript {
        versions,
        version,
        incarnation,
        joining_nonce,
        serving_nonce,
        channel,
        name: &name,
    };
    if !token.is_proven(Side::Joining, &said, &proof) {
        refuse_with(write, REFUSED_TOKEN, |_| {}).await;
        return Err(LinkError::Token);
    }
    if !is_name(&name) {
        refuse(write, "the name is empty, too long, or not plain text").await;
        return Err(LinkError::Name(name.escape_debug().take(80).collect()));
    }
    let proof = token.prove(Side::Serving, &said);
    send(write, WELCOME, |out| out.put_slice(&proof)).await?;
    Ok(Joining { name, incarnation })
}

/// Tells the other end why it is not let in, if it still listens.
pub async fn refuse<W: AsyncWrite + Unpin>(write: &mut W, why: &str) {
    let why = frame::clip(why, WHY_BYTES_MAX);
    refuse_with(write, REFUSED_OTHER, |out| {
        frame::put_bytes(out, why.as_bytes());
    })
    .await;
}

async fn refuse_with<W: AsyncWrite + Unpin>(
    write: &mut W,
    why: u8,
    fill: impl FnOnce(&mut BytesMut),
) {
    // Whoever does not hear it learns nothing else either.
    let _ = send(write, REFUSED, |out| {
        out.put_u8(why);
        fill(out);
    })
    .await;
    let _ = write.shutdown().await;
}

async fn send<W: AsyncWrite + Unpin>(
    write: &mut W,
    kind: u8,
    fill: impl FnOnce(&mut BytesMut),
) -> Result<(), LinkError> {
    let mut out = BytesMut::with_capacity(256);
    frame::write(&mut out, |out| {
        out.put_slice(&MAGIC);
        out.put_u8(kind);
        fill(out);
    });
    write.write_all(&out).await.map_err(LinkError::Broken)?;
    write.flush().await.map_err(LinkError::Broken)
}

/// The next frame of the hello, which must be of this kind.
async fn expect<R: AsyncRead + Unpin>(
    inbound: &mut Inbound<R>,
    kind: u8,
) -> Result<Fields, LinkError> {
    const STRANGE: LinkError = LinkError::Protocol("what it said is no hello");
    let frame: Bytes = match inbound.frame(HELLO_BYTES_MAX, HELLO_MAX).await {
        Ok(frame) => frame,
        // Something else altogether, like HTTP or TLS, reads as a very long frame.
        Err(LinkError::FrameTooLarge { .. }) => return Err(STRANGE),
        Err(e) => return Err(e),
    };
    let mut fields = Fields::new(frame);
    if fields.array().is_ok_and(|magic: [u8; 10]| magic != MAGIC) {
        return Err(STRANGE);
    }
    match fields.byte() {
        Ok(said) if said == kind => Ok(fields),
        Ok(REFUSED) => match fields.byte()? {
            REFUSED_TOKEN => Err(LinkError::Token),
            REFUSED_VERSION => Err(LinkError::Version {
                min: u16::from_le_bytes(fields.array()?),
                max: u16::from_le_bytes(fields.array()?),
            }),
            _ => Err(LinkError::Refused(fields.text(WHY_BYTES_MAX)?)),
        },
        _ => Err(STRANGE),
    }
}

fn nonce() -> Result<[u8; 32], LinkError> {
    let no_random = || std::io::Error::other("the system gave no random bytes");
    random().ok_or_else(|| LinkError::Broken(no_random()))
}
