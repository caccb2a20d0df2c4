//! An answer goes on as long as whoever asked may show what they showed: who is deactivated, or whose token or key is
//! revoked, gets no further byte, also of a stream that lasts for hours.

use super::answer::Cut;
use super::head::Head;
use crate::lane::Lane;
use crate::prepare::route::Route;
use crate::prepare::who::Who;
use crate::stages::authenticate::{Asked, who};
use std::cell::OnceCell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

/// Who asked, and by what.
pub(crate) struct Shown<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) head: &'a Head,
    pub(crate) route: &'a Route,
    pub(crate) who: &'a Who,
    /// From where, through the proxies that are trusted.
    pub(crate) client: IpAddr,
    /// When: a token that has come to its end since is no reason to cut.
    pub(crate) now_ms: i64,
    /// Revision of who may show what, under which they were let in.
    pub(crate) under: u64,
}

impl Shown<'_> {
    fn counts(&self) -> bool {
        let (prepared, seat) = (self.lane.snapshot(), OnceCell::new());
        let asked = Asked {
            lane: self.lane,
            prepared: &prepared,
            route: self.route,
            head: self.head,
            client: self.client,
            now_ms: self.now_ms,
            seat: &seat,
        };
        matches!(who(&asked), Ok(Some(who)) if who.consumer.id == self.who.consumer.id)
    }
}

/// Goes on with the work while what was shown counts; `None`: nobody in particular asked. Each new snapshot that says anew
/// who may show what wakes those that wait ([`Lane::look`]).
pub(crate) async fn while_known<T>(
    shown: Option<Shown<'_>>,
    work: impl Future<Output = Result<T, Cut>>,
) -> Result<T, Cut> {
    let Some(shown) = shown else { return work.await };
    let (mut work, mut under) = (pin!(work), shown.under);
    poll_fn(|context| {
        let newest = shown.lane.identity();
        if newest > under {
            under = newest;
            if !shown.counts() {
                return Poll::Ready(Err(Cut::Revoked));
            }
        }
        work.as_mut().poll(context)
    })
    .await
}
