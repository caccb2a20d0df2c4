//! The column: a request flows from top to bottom, and whatever stops it is rescued in one place.

use crate::call::{Arrived, Call};
use crate::client::answer::{Answer, send};
use crate::client::head::Head;
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::rescue::rescue;
use crate::stages::admit::{admit, in_flight};
use crate::stages::authenticate::authenticate;
use crate::stages::authorize::authorize;
use crate::stages::forward::forward;
use crate::stages::identify::identify;
use crate::stages::record::Record;
use crate::stages::reply::{guard, preflight, reply};
use crate::stages::route::{Found, route};
use crate::stages::shape::shape;
use crate::targets::local;

/// One request. Whether its connection can be used again.
pub(crate) async fn handle(lane: &Lane, client: &mut Client, head: &Head) -> bool {
    let prepared = lane.snapshot(); // one revision for the whole call
    let now_ms = lane.clock.unix_ms();
    let mut record = Record::open(lane, head, client.peer.ip(), now_ms); // written on every exit, also on cancel
    let call = Call { lane, prepared: &prepared, now_ms, head, stage: Arrived };
    let outcome = column(call, client, &mut record).await;
    record.access.bytes_in = client.came();
    let mut answer = match outcome {
        Ok(answer) => {
            record.access.status = answer.status;
            answer
        }
        Err(failure) => {
            let mut answer = rescue(failure, prepared.limits.strict_envelope, lane);
            guard(&mut answer);
            record.refuse(failure, answer.status);
            if failure == Failure::ClientGone {
                record.close(None);
                lane.spare(answer.head);
                return false;
            }
            answer
        }
    };
    record.sign(&mut answer);
    let sent = send(client, head, answer, lane, &mut record.access.bytes_out).await;
    record.access.bytes_in = client.came(); // an upstream may have answered before the request was whole
    record.close(sent.err()); // with the last byte
    sent.unwrap_or(false)
}

async fn column(
    call: Call<'_, Arrived>,
    client: &mut Client,
    record: &mut Record,
) -> Result<Answer, Failure> {
    identify(&call, record)?;
    let call = match route(call, record)? {
        Found::Upstream(call) => call,
        Found::Local(call) => {
            in_flight(call.prepared, record)?;
            return local::call(call.head, client, call.lane).await;
        }
        Found::Preflight(call) => return Ok(preflight(&call)),
    };
    let call = admit(call, record)?; // before authenticate: cheap refusal first
    let call = authenticate(call)?; // tokens are hashed fast or cached; argon2 never runs here
    let call = authorize(call, record)?;
    let outgoing = shape(&call, client, record)?;
    let answered = forward(outgoing, &call, client, record).await?;
    Ok(reply(answered, &call))
}
