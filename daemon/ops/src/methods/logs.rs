//! `GET /v1/logs`: lines that pass the filter, then new ones as they come. A reader that falls behind the ring is told
//! how much it missed.

use super::{Call, lines};
use crate::LogRing;
use actix_web::HttpResponse;
use futures_util::stream;
use gatehouse_common::logquery::LogFilter;
use gatehouse_common::ops::Item;
use gatehouse_common::ops::logs::{LogItem, LogLine, LogsQuery};
use gatehouse_common::problem::Problem;
use std::collections::VecDeque;

struct Reader {
    ring: LogRing,
    filter: LogFilter,
    next: u64,
    follow: bool,
    ready: VecDeque<LogItem>,
    seq: u64,
}

pub(super) async fn logs(call: Call) -> Result<HttpResponse, Problem> {
    let query: LogsQuery = call.query()?;
    let filter = LogFilter::parse(query.q.as_deref().unwrap_or_default())?;
    let ring = call.ops.log.clone();
    // Without a number to go on from, what the ring has forgotten is not missed.
    let start = query.from.map_or_else(|| ring.start(), |from| from + 1);
    let mut reader =
        Reader { ring, filter, next: start, follow: query.follow == Some(1), ready: VecDeque::new(), seq: 0 };
    if let Some(limit) = query.limit {
        reader.newest(limit);
    }
    lines(&call, stream::unfold(reader, |reader| async move { reader.item().await }))
}

impl Reader {
    /// Reads to the end now and keeps the newest lines only.
    fn newest(&mut self, limit: usize) {
        let mut kept: VecDeque<LogLine> = VecDeque::new();
        loop {
            let taken = self.ring.take(self.next, &self.filter);
            self.next = taken.next;
            kept.extend(taken.lines);
            while kept.len() > limit {
                kept.pop_front();
            }
            if taken.at_end {
                break;
            }
        }
        self.ready.extend(kept.into_iter().map(LogItem::Line));
    }

    async fn item(mut self) -> Option<(Item<LogItem>, Self)> {
        loop {
            if let Some(body) = self.ready.pop_front() {
                let item = Item { seq: self.seq, body };
                self.seq += 1;
                return Some((item, self));
            }
            let taken = self.ring.take(self.next, &self.filter);
            self.next = taken.next;
            if taken.missed > 0 {
                self.ready.push_back(LogItem::Gap { dropped: taken.missed });
            }
            self.ready.extend(taken.lines.into_iter().map(LogItem::Line));
            if self.ready.is_empty() && taken.at_end {
                if !self.follow {
                    return None;
                }
                self.ring.beyond(self.next).await;
            }
        }
    }
}
