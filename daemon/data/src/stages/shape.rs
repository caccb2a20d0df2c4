//! Shape: the request as the upstream gets it (spec/doorman.md 5.4, 5.5, 5.9). Framing is made anew, never copied. A body
//! is collected only where a policy must see it whole.

use crate::call::{Allowed, Call};
use crate::client::head::{Body, Head};
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::policies::trace::Trace;
use crate::policies::transform::{Transform, is_json};
use crate::prepare::route::Route;
use crate::prepare::server::{Server, Targets};
use crate::stages::admit::body_bytes;
use crate::stages::pay::{Key, pay};
use crate::stages::record::Record;
use crate::upstream::upload::Source;
use bytes::Bytes;
use std::borrow::Cow;
use std::future::poll_fn;
use std::io::Write as _;

/// Bodies up to this are kept for another attempt, bytes.
const KEPT_BYTES: u64 = 65_536;

/// A request, ready to be sent to one server or another.
pub(crate) struct Shaped<'a> {
    pub(crate) targets: &'a Targets,
    method: &'a str,
    /// Behind the server's own prefix.
    path: &'a str,
    query: Option<Cow<'a, str>>,
    /// All fields but `Host`, and the empty line.
    fields: Vec<u8>,
    pub(crate) source: Source,
    /// A key of the credit group is among the fields.
    pub(crate) keyed: bool,
}

impl Shaped<'_> {
    /// The head for this server.
    pub(crate) fn head(&self, server: &Server, mut into: Vec<u8>) -> Vec<u8> {
        let mut add = |part: &[u8]| into.extend_from_slice(part);
        add(self.method.as_bytes());
        add(b" ");
        add(server.prefix.as_bytes());
        if !self.path.starts_with('/') {
            add(b"/");
        }
        add(self.path.as_bytes());
        if let Some(query) = &self.query {
            add(b"?");
            add(query.as_bytes());
        }
        add(b" HTTP/1.1\r\nhost: ");
        add(server.host.as_bytes());
        add(b"\r\n");
        add(&self.fields);
        into
    }

    /// All fields but `Host`, and the empty line; for [`lines`].
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// Whether it has no body.
    pub(crate) fn bodiless(&self) -> bool {
        self.source == Source::Done
    }

    /// The same request, which has no body, with these conditions in place of its own.
    pub(crate) fn validating<'v>(
        &self,
        conditions: impl Iterator<Item = (&'static str, &'v [u8])>,
        mut into: Vec<u8>,
    ) -> Self {
        let own = |name: &str| {
            ["if-none-match", "if-modified-since"].iter().any(|one| name.eq_ignore_ascii_case(one))
        };
        let kept = lines(&self.fields).filter(|(name, _)| !own(name));
        kept.for_each(|(name, value)| field(&mut into, name.as_bytes(), value));
        conditions.for_each(|(name, value)| field(&mut into, name.as_bytes(), value));
        into.extend_from_slice(b"\r\n");
        let (query, source) = (self.query.clone(), Source::Done);
        Self { query, source, fields: into, ..*self }
    }

    /// The buffer of the fields, for the next one.
    pub(crate) fn into_fields(self) -> Vec<u8> {
        self.fields
    }
}

pub(crate) async fn shape<'a>(
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Shaped<'a>, Failure> {
    let routed = &call.stage.0.routed;
    let route = routed.route;
    let targets = targets(call);
    if targets.servers.is_empty() {
        return Err(Failure::NoUpstream);
    }
    client.allow(body_bytes(call.prepared, route));
    let source = source(call, client, record).await?;
    // Behind limits, rules and validation; what fails later is paid, as it is where the upstream fails.
    let paid = pay(call).await?;
    let mut fields = call.lane.buffer();
    let keyed = paid.is_some();
    pass(call, record, paid, &mut fields);
    if routed.switch {
        fields.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    framing(call.head, &source, &mut fields);
    let query = call.head.query();
    let changed = route.request.as_ref().and_then(|transform| transform.query(query.unwrap_or_default()));
    Ok(Shaped {
        targets,
        method: call.head.method(),
        path: call.head.path().get(routed.rest_at..).unwrap_or("/"),
        query: changed.map(Cow::Owned).or(query.map(Cow::Borrowed)).filter(|query| !query.is_empty()),
        fields,
        source,
        keyed,
    })
}

/// The client's own routing, the endpoint's servers, the API's (spec/doorman.md 5.4).
fn targets<'a>(call: &Call<'a, Allowed<'a>>) -> &'a Targets {
    let routed = &call.stage.0.routed;
    let prepared = call.prepared;
    let routing = call.head.get_text(Name::ClientKey).and_then(|key| prepared.routings.get(key));
    let own = routing.map(|routing| &**routing).or(routed.endpoint.targets.as_deref());
    own.unwrap_or(&routed.route.targets)
}

/// Where the body comes from: the client as it sends it, or memory if somebody must see it first.
async fn source<'a>(
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Source, Failure> {
    let routed = &call.stage.0.routed;
    let kind = call.head.get_text(Name::ContentType);
    let transform = routed.route.request.as_ref().filter(|transform| {
        transform.changes_body() && call.head.framing != Body::None && kind.is_some_and(is_json)
    });
    let validator = routed.endpoint.validator.as_ref();
    if transform.is_none() && validator.is_none() && !kept(call) {
        return Ok(match call.head.framing {
            Body::None => Source::Done,
            Body::Length(_) => Source::Client { chunked: false },
            Body::Chunked => Source::Client { chunked: true },
        });
    }
    // Of two types the upstream may go by the other one.
    if validator.is_some() && call.head.all(Name::ContentType).nth(1).is_some() {
        record.detail = Some("expected one Content-Type".to_owned());
        return Err(Failure::Invalid);
    }
    let mut body = collect(client).await?;
    if let Some(validator) = validator {
        validator.body(kind, &body).map_err(|invalid| {
            record.detail = Some(invalid.to_string());
            Failure::Invalid
        })?;
    }
    let most = usize::try_from(body_bytes(call.prepared, routed.route)).unwrap_or(usize::MAX);
    if let Some(changed) = transform.and_then(|transform| transform.body(&body, most)) {
        body = changed.map_err(|error| {
            record.detail = Some(error.to_string());
            Failure::Untransformed
        })?;
    }
    Ok(Source::Whole(Bytes::from(body)))
}

/// A short body of a call that may be tried again is kept.
fn kept(call: &Call<'_, Allowed<'_>>) -> bool {
    let retries = call.stage.0.routed.route.api.retries;
    let short = matches!(call.head.framing, Body::Length(length) if length <= KEPT_BYTES);
    short && retries.count > 0 && (retries.non_idempotent || idempotent(call.head.method()))
}

/// RFC 9110 9.2.2.
pub(crate) fn idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "PUT" | "DELETE")
}

/// The whole body; it has at most as many bytes as the client was allowed.
async fn collect(client: &mut Client) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(count) = poll_fn(|context| client.poll_body(context)).await {
        let count = count?;
        body.extend_from_slice(client.piece(count));
        client.took(count);
    }
    Ok(body)
}

fn framing(head: &Head, source: &Source, into: &mut Vec<u8>) {
    match (source, head.framing) {
        // Into memory: this cannot fail.
        (Source::Whole(body), _) => drop(write!(into, "content-length: {}\r\n\r\n", body.len())),
        (Source::Client { chunked: false }, Body::Length(length)) => {
            drop(write!(into, "content-length: {length}\r\n\r\n"));
        }
        (Source::Client { .. }, _) => into.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        // RFC 9110 8.6: a method that usually has a body says that there is none.
        (Source::Done, _) if matches!(head.method(), "POST" | "PUT" | "PATCH") => {
            into.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        (Source::Done, _) => into.extend_from_slice(b"\r\n"),
    }
}

/// The client's fields that pass, and the gateway's. The parser let no line end into a name or a value.
fn pass(call: &Call<'_, Allowed<'_>>, record: &mut Record<'_>, paid: Option<Key<'_>>, into: &mut Vec<u8>) {
    let (head, known) = (call.head, &call.stage.0);
    let route = known.routed.route;
    let key = paid.map_or("", |(name, _)| name);
    let passing = head.fields().filter(|(name, text, _)| {
        let part = known.routed.switch && *name == Name::WebSocket;
        (part || passes(*name, text, route)) && !head.ends(text) && !text.eq_ignore_ascii_case(key.as_bytes())
    });
    match route.request.as_ref().filter(|transform| transform.changes_headers()) {
        None => passing.for_each(|(_, name, value)| field(into, name, value)),
        Some(transform) => {
            let passing = passing.map(|(_, name, value)| (name, value));
            changed(transform, passing, |name, value| field(into, name, value));
        }
    }
    if let Some((name, key)) = paid {
        field(into, name.as_bytes(), key.expose().as_bytes());
    }
    if let Some(swap) = &route.api.authorization_swap {
        let given = head.named(swap).filter(|value| !value.is_empty());
        if let Some(content) = given.or_else(|| head.get(Name::Authorization)) {
            field(into, b"authorization", content);
        }
    }
    field(into, b"x-request-id", record.access.request.as_bytes());
    trace(call, record, into);
    if let Some(who) = known.who {
        let name = who.name.as_bytes();
        field(into, b"x-user-email", name);
        field(into, b"x-doorman-user", name);
    }
}

/// Goes on with the trace the client brings, or begins one if settings say so.
fn trace(call: &Call<'_, Allowed<'_>>, record: &mut Record<'_>, into: &mut Vec<u8>) {
    let head = call.head;
    if head.get(Name::TraceParent).is_none() && !call.prepared.limits.trace {
        return;
    }
    let (parents, states) = (head.all(Name::TraceParent), head.all(Name::TraceState));
    let trace = Trace::next(parents, states, (rand::random(), rand::random()), false);
    trace.fields().for_each(|(name, value)| field(into, name.as_bytes(), value));
    if let Ok(id) = u128::from_str_radix(trace.id(), 16) {
        record.access.trace = id.to_be_bytes();
    }
}

/// Fields as a transform wants them. Names are tokens, so they are text.
pub(crate) fn changed<'f>(
    transform: &'f Transform,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    mut out: impl FnMut(&[u8], &[u8]),
) {
    let texts = fields.map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value));
    transform.headers(texts, |name, value| out(name.as_bytes(), value));
}

/// Whether a client's field goes upstream: of the fixed set, or listed by the API.
fn passes(name: Name, text: &[u8], route: &Route) -> bool {
    name.always_up() || route.lists_any() && !name.never_up() && route.lists(text)
}

/// Names and values of fields as they are written here.
pub(crate) fn lines(fields: &[u8]) -> impl Iterator<Item = (&str, &[u8])> + Clone {
    fields.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(line.get(..at)?).ok()?;
        Some((name, line.get(at + 1..)?.trim_ascii()))
    })
}

fn field(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        into.extend_from_slice(part);
    }
}
