//! The column: a request flows from top to bottom, and whatever stops it is rescued in one place.

use crate::call::{Arrived, Call};
use crate::client::answer::{Answer, Content, Cut, send};
use crate::client::head::Head;
use crate::client::known::{Shown, while_known};
use crate::client::stream::Client;
use crate::client::tunnel::tunnel;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::lane::Lane;
use crate::rescue::{Told, rescue};
use crate::stages::admit::{admit, enter};
use crate::stages::authenticate::authenticate;
use crate::stages::authorize::authorize;
use crate::stages::cached::cached;
use crate::stages::identify::identify;
use crate::stages::record::Record;
use crate::stages::reply::{across, guard, preflight, reply};
use crate::stages::route::{Found, route};
use crate::stages::shape::shape;
use crate::targets::local;
use gatehouse_corridor::telemetry::Protocol;
use std::cell::OnceCell;

/// One request. Whether its connection can be used again.
pub(crate) async fn handle(lane: &Lane, client: &mut Client, head: &Head) -> bool {
    let prepared = lane.snapshot(); // one revision for the whole call
    let now_ms = lane.clock.unix_ms();
    let (peer, seat) = (client.peer.ip(), OnceCell::new());
    let mut record = Record::open(lane, head, peer, now_ms); // written on every exit, also on cancel
    let call = Call { lane, prepared: &prepared, now_ms, head, peer, seat: &seat, stage: Arrived };
    let outcome = column(call, client, &mut record).await;
    record.access.bytes_in = client.came();
    let mut answer = match outcome {
        Ok(answer) => {
            record.access.status = answer.status;
            answer
        }
        Err(Failure::ClientGone) => {
            record.refuse(Failure::ClientGone);
            record.close(None);
            return false;
        }
        Err(failure) => {
            let told = Told { lane, strict_envelope: prepared.limits.strict_envelope, now_ms };
            let mut answer = rescue(failure, record.detail.as_deref(), &told);
            guard(&mut answer);
            record.refuse(failure);
            answer
        }
    };
    if let Some(route) = record.route {
        across(&mut answer, head.get(Name::Origin), route);
    }
    record.sign(&mut answer);
    let (route, who, from) = (record.route, record.who, record.client);
    let shown = || {
        let (route, who, under) = (route?, who?, prepared.identity.0);
        Some(Shown { lane, head, route, who, client: from, now_ms, under })
    };
    let work = send(client, head, &mut answer, lane, &mut record.access.bytes_out);
    let sent = while_known(shown(), work).await;
    if sent == Err(Cut::Revoked) {
        client.reset(); // what came so far must not look like all
    }
    if let (Ok(_), Content::Tunnel(ends)) = (sent, answer.content) {
        let (connection, _busy) = *ends;
        let work = tunnel(client, connection.into_parts(), lane, &mut record.access);
        let cut = while_known(shown(), work).await.err();
        record.close(cut.filter(|cut| *cut != Cut::Client)); // either side may end it
        return false;
    }
    record.access.bytes_in = client.came(); // an upstream may have answered before the request was whole
    record.close(sent.err()); // with the last byte
    sent.unwrap_or(false)
}

async fn column<'a>(
    call: Call<'a, Arrived>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Answer, Failure> {
    let call = identify(call, record)?;
    let exempt = call.stage.exempt;
    let call = match route(call, record)? {
        Found::Upstream(call) => call,
        Found::Local(call) => {
            record.access.protocol = Protocol::Manage;
            enter(call.prepared.shares.all(), record)?;
            return local::call(&call, client).await;
        }
        Found::Preflight(call, route) => return Ok(preflight(&call, route)),
    };
    let call = admit(call, exempt, record)?; // before authenticate: cheap refusal first
    let call = authenticate(call, record)?; // tokens are hashed fast or cached; argon2 never runs here
    let call = authorize(call, client, record).await?; // some wait for their turn
    let shaped = shape(&call, client, record).await?; // bodies are collected only for those who must see them whole
    let given = cached(shaped, &call, client, record).await?; // forward, unless what was kept answers
    reply(given, &call, client, record).await
}
