//! Reply: the answer as the client gets it (spec/doorman.md 1.4, 5.6, 5.7, 5.9): listed headers, the body byte for byte
//! unless the API changes it or the client takes it compressed.

use crate::call::{Allowed, Call, Placed};
use crate::client::answer::{Answer, Content, Cut};
use crate::client::coded::Coded;
use crate::client::recorded::Recorded;
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::http1::Framing;
use crate::http1::fields::Name;
use crate::policies::cache::shelf::Keeper;
use crate::policies::compress::encoder::Encoder;
use crate::policies::compress::{self, Verdict};
use crate::policies::cors::{self, Preflight};
use crate::policies::transform::{Transform, is_json};
use crate::prepare::route::Route;
use crate::stages::cached::{Given, Origin};
use crate::stages::forward::Answered;
use crate::stages::record::Record;
use crate::stages::shape::changed;
use crate::stages::streamed::Streamed;
use crate::upstream::head::Head;
use std::future::poll_fn;
use std::io::Write as _;
use std::task::Poll;

/// Longest answer that a transform may change, bytes: it must be collected for that.
const CHANGED_BYTES: usize = 8 << 20;
/// The body of an upstream's 404 that has none (spec/doorman.md 5.6).
const NO_SUCH_PLACE: &str = r#"{"error_code":"GTW005","error_message":"Endpoint does not exist in backend"}"#;

pub(crate) async fn reply<'a>(
    given: Given,
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Answer, Failure> {
    let route = call.stage.0.routed.route;
    let to_head = call.head.method() == "HEAD";
    let Given { origin, state, keeper } = given;
    let origin = match origin {
        Origin::Upstream(answered) if answered.connection.head.status == 101 => {
            return Ok(switched(answered, call));
        }
        origin => origin,
    };
    let head = origin.head();
    let transform = route.response.as_ref();
    let status = transform.map_or(head.status, |transform| transform.status(head.status));
    let mut answer = Answer::new(status, call.lane);
    let framing = head.framing(to_head);
    let none = framing == Framing::None || framing == Framing::Length(0);
    let fate = Fate {
        verdict: compression(head, call, route),
        changed: transform.is_some_and(Transform::changes_body) && is_plain_json(head),
        lost: head.status == 404 && none && !to_head,
    };
    pass(head, route, fate, &mut answer);
    // Into memory: this cannot fail.
    match &origin {
        Origin::Upstream(answered) => {
            write!(answer.head, "x-backend-time: {}\r\n", answered.upstream_time.as_millis()).ok()
        }
        Origin::Kept(kept) => write!(answer.head, "age: {}\r\n", kept.age_secs).ok(),
    };
    if let Some(state) = state {
        answer.field(b"x-cache", state.as_bytes());
    }
    guard(&mut answer);
    answer.length = match head.length {
        // How long it would be when it is changed on its way nobody can say.
        Some(_) if to_head && fate.another() => None,
        // Of a body that does not come here.
        length if to_head || status == 304 => length,
        // Whatever a 204 says, also where another status stands in its place.
        _ if none => Some(0),
        length => length,
    };
    let idle = call.prepared.limits.idle_connections;
    let content = match origin {
        Origin::Upstream(answered) => recorded(Streamed::begin(answered, to_head, call.lane, idle), keeper),
        Origin::Kept(kept) => (!none).then_some(Content::Whole(kept.body)),
    };
    if fate.lost {
        record.access.failure = "GTW005";
        return Ok(answer.with("application/json", NO_SUCH_PLACE));
    }
    let Some(content) = content else { return Ok(answer) };
    if let Some(transform) = transform.filter(|_| fate.changed) {
        return whole(answer, content, transform, client).await;
    }
    answer.content = content;
    if let Some(coding) = fate.verdict.coding {
        let level = route.compress.map_or(1, |compress| compress.level());
        let encoder = Encoder::new(coding, level).map_err(|_| Failure::Overloaded)?;
        answer.length = None;
        answer.content = Content::Coded(Box::new(Coded::new(answer.content, encoder)));
    }
    Ok(answer)
}

/// What becomes of the upstream's body.
#[derive(Clone, Copy)]
struct Fate {
    verdict: Verdict,
    /// A transform changes it.
    changed: bool,
    /// It is one of ours instead.
    lost: bool,
}

impl Fate {
    /// Whether the client gets other bytes than the upstream sent.
    fn another(self) -> bool {
        self.changed || self.verdict.coding.is_some()
    }

    /// Whether a field of the upstream is true of what the client gets.
    fn holds(self, name: &[u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // Ranges and digests are of the bytes that are sent.
        let of_bytes = || ["accept-ranges", "content-md5", "content-digest", "digest"].into_iter().any(is);
        let of_body =
            || matches!(Name::of(name), Name::Describes | Name::ContentType | Name::ContentEncoding);
        !(self.another() && of_bytes() || self.lost && of_body() && !is("vary") && !is("location"))
    }
}

/// An upstream's content, kept on its way; what has none is kept at once.
fn recorded(streamed: Option<Streamed>, keeper: Option<Keeper>) -> Option<Content> {
    match (streamed, keeper) {
        (Some(streamed), Some(keeper)) => Some(Content::Recorded(Box::new(Recorded::new(streamed, keeper)))),
        (Some(streamed), None) => Some(Content::Streamed(Box::new(streamed))),
        (None, keeper) => {
            keeper.into_iter().for_each(Keeper::keep);
            None
        }
    }
}

/// The upstream has switched to WebSocket: its word goes to the client, and then a tunnel is open.
fn switched(answered: Answered, call: &Call<'_, Allowed<'_>>) -> Answer {
    let mut answer = Answer::new(101, call.lane);
    answer.head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    for (_, name, value) in answered.connection.head.fields().filter(|(name, ..)| *name == Name::WebSocket) {
        answer.field(name, value);
    }
    answer.content = Content::Tunnel(Box::new((answered.connection, answered.busy)));
    answer
}

/// Whether and how the answer is to be compressed. Most are too short for the question.
fn compression(head: &Head, call: &Call<'_, Allowed<'_>>, route: &Route) -> Verdict {
    let none = Verdict { coding: None, varies: false };
    let Some(compress) = route.compress.filter(|compress| !compress.too_short(head.length)) else {
        return none;
    };
    // A body that a transform changes is collected first, and then sent as it is.
    if route.response.as_ref().is_some_and(Transform::changes_body) && is_plain_json(head) {
        return none;
    }
    let accept = call.head.all(Name::AcceptEncoding).filter_map(|value| std::str::from_utf8(value).ok());
    let fields = head.fields();
    let answer = compress::Answer {
        status: head.status,
        length: head.length,
        // Names are tokens, so they are text.
        fields: fields.filter_map(|(_, name, value)| Some((std::str::from_utf8(name).ok()?, value))),
    };
    compress.decide(accept, answer)
}

/// JSON without a content coding, and no part of it: what a transform can read.
fn is_plain_json(head: &Head) -> bool {
    let kind = head.get(Name::ContentType).and_then(|kind| std::str::from_utf8(kind).ok());
    head.status != 206 && kind.is_some_and(is_json) && head.get(Name::ContentEncoding).is_none()
}

/// Collects the body and changes it.
async fn whole(
    mut answer: Answer,
    mut content: Content,
    transform: &Transform,
    client: &mut Client,
) -> Result<Answer, Failure> {
    let mut body = Vec::new();
    let mut next = async |content: &mut Content| {
        poll_fn(|context| match content.poll(client, context) {
            Poll::Pending if client.gone(context) => Poll::Ready(Some(Err(Cut::Client))),
            polled => polled,
        })
        .await
    };
    while let Some(count) = next(&mut content).await {
        let count = count.map_err(|cut| match cut {
            Cut::Client => Failure::ClientGone,
            Cut::Upstream => Failure::Upstream,
            Cut::Stalled => Failure::Timeout,
            Cut::Revoked => Failure::Unauthenticated,
        })?;
        if body.len() + count > CHANGED_BYTES {
            return Err(Failure::Upstream);
        }
        body.extend_from_slice(content.piece(count));
        content.took(count);
    }
    let body = match transform.body(&body, CHANGED_BYTES) {
        Some(Ok(changed)) => changed,
        // What is no JSON after all passes as it is.
        Some(Err(_)) | None => body,
    };
    answer.length = Some(body.len() as u64);
    answer.content = Content::Whole(body.into());
    Ok(answer)
}

/// The fields that go on to the client: those that always do, and the listed ones.
fn pass(head: &Head, route: &Route, fate: Fate, answer: &mut Answer) {
    let passing = head.fields().filter(|(name, text, _)| {
        let passes = name.always_down() || route.lists_any() && !name.never_down() && route.lists(text);
        passes && !(head.ends(text) || ours(text) || route.api.cache && of_cache(text))
    });
    let passing = passing.map(|(_, name, value)| (name, value));
    let mut out = |name: &[u8], value: &[u8]| match () {
        () if !fate.holds(name) => {}
        () if fate.another() && name.eq_ignore_ascii_case(b"etag") => weaken(answer, value),
        () => answer.field(name, value),
    };
    match route.response.as_ref().filter(|transform| transform.changes_headers()) {
        None => passing.for_each(|(name, value)| out(name, value)),
        Some(transform) => changed(transform, passing, out),
    }
    let verdict = fate.verdict;
    if let Some(coding) = verdict.coding {
        answer.field(b"content-encoding", coding.name().as_bytes());
    }
    if verdict.varies {
        let named = head.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(b"vary"));
        let values = named.filter_map(|(_, _, value)| std::str::from_utf8(value).ok());
        if let Some(vary) = compress::vary(values) {
            answer.field(b"vary", vary.as_bytes());
        }
    }
}

fn weaken(answer: &mut Answer, etag: &[u8]) {
    if let Ok(etag) = std::str::from_utf8(etag) {
        answer.field(b"etag", compress::weak(etag).as_bytes());
    }
}

/// Only the gateway's own cache is told of.
fn of_cache(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"x-cache")
}

/// Cross-origin fields are the gateway's to say.
fn ours(name: &[u8]) -> bool {
    name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"access-"))
        && std::str::from_utf8(name).is_ok_and(|name| cors::is_ours(&name.to_ascii_lowercase()))
}

/// Fields of every answer of the gateway.
pub(crate) fn guard(answer: &mut Answer) {
    answer.head.extend_from_slice(
        b"x-content-type-options: nosniff\r\nx-frame-options: DENY\r\nreferrer-policy: no-referrer\r\n",
    );
}

/// Cross-origin fields of an answer that is no preflight's.
pub(crate) fn across(answer: &mut Answer, origin: Option<&[u8]>, route: &Route) {
    route.cors.answer(origin, &mut |name: &str, value: &[u8]| answer.field(name.as_bytes(), value));
}

/// OPTIONS: always 204, without authentication (spec/doorman.md 5.7).
pub(crate) fn preflight(call: &Call<'_, Placed>, route: Option<&Route>) -> Answer {
    let mut answer = Answer::new(204, call.lane);
    if let Some(route) = route {
        let asked = Preflight {
            origin: call.head.get(Name::Origin),
            method: call.head.get(Name::PreflightMethod),
            headers: call.head.get(Name::PreflightHeaders),
        };
        route.cors.preflight(asked, &mut |name: &str, value: &[u8]| answer.field(name.as_bytes(), value));
    }
    guard(&mut answer);
    answer
}
