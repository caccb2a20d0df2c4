//! A content that goes into the cache as it passes. It is kept only if it came whole.

use super::answer::Cut;
use super::stream::Client;
use crate::policies::cache::shelf::Keeper;
use crate::stages::streamed::Streamed;
use std::task::{Context, Poll};

/// A content being kept.
pub(crate) struct Recorded {
    streamed: Streamed,
    /// `None` once it was kept or given up.
    keeper: Option<Keeper>,
}

impl Recorded {
    pub(crate) fn new(streamed: Streamed, keeper: Keeper) -> Self {
        Self { streamed, keeper: Some(keeper) }
    }

    pub(crate) fn poll(
        &mut self,
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, Cut>>> {
        let polled = self.streamed.poll(client, context);
        match (&polled, &self.keeper) {
            (Poll::Ready(None), Some(_)) => {
                if let Some(keeper) = self.keeper.take() {
                    keeper.keep();
                }
            }
            (Poll::Ready(Some(Err(_))), _) => self.keeper = None,
            _ => {}
        }
        polled
    }

    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.streamed.piece(count)
    }

    pub(crate) fn took(&mut self, count: usize) {
        if let Some(keeper) = &mut self.keeper
            && !keeper.push(self.streamed.piece(count))
        {
            self.keeper = None;
        }
        self.streamed.took(count);
    }
}
