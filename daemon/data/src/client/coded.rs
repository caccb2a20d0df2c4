//! A content that is compressed on its way. What the upstream has said so far is let out whenever it pauses.

use super::answer::{Content, Cut};
use super::stream::Client;
use crate::policies::compress::encoder::Encoder;
use std::task::{Context, Poll};

/// Bytes let out at once.
const OUT_BYTES: usize = 16_384;

/// A content being compressed.
pub(crate) struct Coded {
    content: Content,
    /// `None` once the end was let out.
    encoder: Option<Encoder>,
    out: Vec<u8>,
    sent: usize,
    /// Something is inside the encoder that was not let out.
    held: bool,
}

impl Coded {
    pub(crate) fn new(content: Content, encoder: Encoder) -> Self {
        Self { content, encoder: Some(encoder), out: Vec::new(), sent: 0, held: false }
    }

    pub(crate) fn poll(
        &mut self,
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, Cut>>> {
        loop {
            let waiting = self.out.len() - self.sent;
            if waiting >= OUT_BYTES || self.encoder.is_none() && waiting > 0 {
                return Poll::Ready(Some(Ok(waiting)));
            }
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            let fed = match self.content.poll(client, context) {
                Poll::Ready(Some(Ok(count))) => {
                    let fed = encoder.feed(self.content.piece(count), &mut self.out);
                    self.content.took(count);
                    self.held = true;
                    fed
                }
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(None) => match self.encoder.take() {
                    Some(encoder) => encoder.finish(&mut self.out),
                    None => Ok(()),
                },
                Poll::Pending if self.held => {
                    self.held = false;
                    encoder.flush(&mut self.out)
                }
                Poll::Pending if waiting > 0 => return Poll::Ready(Some(Ok(waiting))),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(error) = fed {
                tracing::error!(target: "reply", %error, "compression failed");
                return Poll::Ready(Some(Err(Cut::Upstream)));
            }
        }
    }

    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.out.get(self.sent..self.sent + count).unwrap_or_default()
    }

    pub(crate) fn took(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }
}
