//! Bytes as frames. They come from another process, so nothing about them is taken for granted.

use super::*;
use crate::limits::{self, BODY_BYTES_MAX};

type Read<T> = Result<T, LinkError>;
const SHORT: LinkError = LinkError::Protocol("a frame ends too early");

fn few(items: usize) -> Read<()> {
    if items > ITEMS_MAX {
        return Err(LinkError::Protocol("a frame holds too many"));
    }
    Ok(())
}

/// Reads the fields of one frame.
pub struct Fields {
    frame: Bytes,
    whole: usize,
}

impl Fields {
    pub fn new(frame: Bytes) -> Fields {
        let whole = frame.len();
        Fields { frame, whole }
    }

    pub fn byte(&mut self) -> Read<u8> {
        self.frame.try_get_u8().map_err(|_| SHORT)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(LinkError::Protocol("a flag is neither 0 nor 1")),
        }
    }

    fn short(&mut self) -> Read<u32> {
        self.frame.try_get_u32_le().map_err(|_| SHORT)
    }

    pub fn number(&mut self) -> Read<u64> {
        let mut n = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(LinkError::Protocol("a number is too great"))
    }

    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        self.frame
            .try_copy_to_slice(&mut array)
            .map_err(|_| SHORT)?;
        Ok(array)
    }

    fn bytes(&mut self, max: usize) -> Read<Bytes> {
        let bytes = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if bytes > self.frame.len() {
            return Err(SHORT);
        }
        if bytes > max {
            return Err(LinkError::Protocol("a field is too long"));
        }
        Ok(self.frame.split_to(bytes))
    }

    pub fn text(&mut self, max: usize) -> Read<String> {
        let bytes = self.bytes(max)?;
        let text = std::str::from_utf8(&bytes);
        text.map(str::to_owned)
            .map_err(|_| LinkError::Protocol("a text is not UTF-8"))
    }

    /// A body that outlives the frame. A small one is copied, so that it doesn't keep all that came with it.
    fn body(&mut self) -> Read<Bytes> {
        let body = self.bytes(BODY_BYTES_MAX)?;
        if body.len() > self.whole / 2 {
            Ok(body)
        } else {
            Ok(Bytes::copy_from_slice(&body))
        }
    }

    fn queue(&mut self) -> Read<Queue> {
        let name = self.bytes(limits::QUEUE_BYTES_MAX)?;
        let name = std::str::from_utf8(&name).ok();
        name.and_then(Queue::parse)
            .ok_or(LinkError::Protocol("no such queue"))
    }

    fn tags(&mut self) -> Read<Vec<Tag>> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.frame.len() {
            return Err(SHORT); // each takes a byte
        }
        let mut tags = Vec::with_capacity(count);
        let mut before = 0;
        for _ in 0..count {
            before = self.step(before)?;
            tags.push(Tag(before));
        }
        Ok(tags)
    }

    fn step(&mut self, before: u64) -> Read<u64> {
        let step = self.number()?;
        let step = (step >> 1) as i64 ^ -((step & 1) as i64);
        Ok(before.wrapping_add(step as u64))
    }

    fn entry(&mut self) -> Read<(String, Option<Bytes>)> {
        let key = self.text(limits::KEY_BYTES_MAX)?;
        let value = if self.flag()? {
            Some(self.body()?)
        } else {
            None
        };
        Ok((key, value))
    }

    fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    pub fn end(&self) -> Read<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(LinkError::Protocol("a frame is too long for its kind"))
        }
    }
}

impl Ask {
    /// # Errors
    /// When the bytes are no frame of the joining end.
    pub fn read(frame: Bytes) -> Read<Ask> {
        let mut fields = Fields::new(frame);
        let ask = match fields.byte()? {
            ALIVE => Ask::Alive,
            PUBLISH => {
                let request = fields.number()?;
                let flags = fields.byte()?;
                let part = Part {
                    first: flags & 1 != 0,
                    last: flags & 2 != 0,
                };
                let mut messages = Vec::new();
                while !fields.is_empty() {
                    let queue = fields.queue()?;
                    for _ in 0..fields.number()? {
                        let body = fields.body()?;
                        let queue = queue.clone();
                        messages.push(Message { queue, body });
                        few(messages.len())?;
                    }
                }
                Ask::Publish {
                    request,
                    part,
                    messages,
                }
            }
            SUBSCRIBE => Ask::Subscribe {
                request: fields.number()?,
                subscription: fields.number()?,
                credit: fields.short()?,
                queue: fields.queue()?,
            },
            SETTLE => {
                let subscription = fields.number()?;
                let credit = if fields.flag()? {
                    Some(fields.short()?)
                } else {
                    None
                };
                let (acks, backs) = (fields.tags()?, fields.tags()?);
                let settled = Settled {
                    credit,
                    acks,
                    backs,
                };
                Ask::Settle {
                    subscription,
                    settled,
                }
            }
            UNSUBSCRIBE => Ask::Unsubscribe {
                subscription: fields.number()?,
            },
            DEPTH => Ask::Depth {
                request: fields.number()?,
                queue: fields.queue()?,
            },
            RETAIN => {
                let request = fields.number()?;
                let (key, value) = fields.entry()?;
                Ask::Retain {
                    request,
                    key,
                    value,
                }
            }
            DIRECTORY => Ask::Directory {
                directory: fields.number()?,
                prefix: fields.text(limits::KEY_BYTES_MAX)?,
            },
            NEXT => Ask::Next {
                directory: fields.number()?,
            },
            CLOSE_DIRECTORY => Ask::CloseDirectory {
                directory: fields.number()?,
            },
            _ => return Err(LinkError::Protocol("a frame of an unknown kind")),
        };
        fields.end()?;
        Ok(ask)
    }
}

impl Say {
    /// # Errors
    /// When the bytes are no frame of the serving end.
    pub fn read(frame: Bytes) -> Read<Say> {
        let mut fields = Fields::new(frame);
        let say = match fields.byte()? {
            ALIVE => Say::Alive,
            ANSWER => {
                let request = fields.number()?;
                let answer = match fields.byte()? {
                    0 => Answer::Done,
                    1 => Answer::Count(fields.number()?),
                    2 => Answer::Full {
                        queue: fields.queue()?,
                        depth_max: fields.number()?,
                    },
                    3 => Answer::Away(fields.text(WHY_BYTES_MAX)?),
                    _ => return Err(LinkError::Protocol("an answer of an unknown kind")),
                };
                Say::Answer { request, answer }
            }
            DELIVER => {
                let subscription = fields.number()?;
                let mut deliveries = Vec::new();
                let mut before = 0;
                while !fields.is_empty() {
                    before = fields.step(before)?;
                    deliveries.push(Delivery {
                        tag: Tag(before),
                        redelivered: fields.flag()?,
                        body: fields.body()?,
                    });
                    few(deliveries.len())?;
                }
                Say::Deliver {
                    subscription,
                    deliveries,
                }
            }
            SUBSCRIPTION_GONE => Say::SubscriptionGone {
                subscription: fields.number()?,
            },
            ENTRIES => {
                let directory = fields.number()?;
                let more = fields.flag()?;
                let mut entries = Vec::new();
                while !fields.is_empty() {
                    entries.push(fields.entry()?);
                    few(entries.len())?;
                }
                Say::Entries {
                    directory,
                    more,
                    entries,
                }
            }
            DIRECTORY_GONE => Say::DirectoryGone {
                directory: fields.number()?,
            },
            _ => return Err(LinkError::Protocol("a frame of an unknown kind")),
        };
        fields.end()?;
        Ok(say)
    }
}
