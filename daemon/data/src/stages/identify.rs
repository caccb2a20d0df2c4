//! Identify: gives the request its id (spec/doorman.md 1.3), tells where it comes from, refuses what must not go
//! further: addresses that the platform's lists keep out (spec/doorman.md 4.17), and tunnels.

use crate::call::{Arrived, Call, Placed};
use crate::client::head::Head;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::policies::addresses::{Access, bypasses};
use crate::policies::forwarded;
use crate::stages::record::Record;
use std::net::IpAddr;

/// Longest id taken from a client, bytes.
const ID_BYTES: usize = 128;
/// The one path that answers whatever the lists say, so that nobody locks themselves out for good.
pub(crate) const UNLISTED: &str = "/platform/security/settings";

pub(crate) fn identify<'a>(
    call: Call<'a, Arrived>,
    record: &mut Record<'a>,
) -> Result<Call<'a, Placed>, Failure> {
    let head = call.head;
    let given = head.get_text(Name::RequestId).or_else(|| head.get_text(Name::OtherRequestId));
    let plain =
        |id: &&str| !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
    record.name(given.filter(plain));
    record.access.test = head.get(Name::IsTest).is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
    let security = &call.prepared.security;
    let client = client(&call, security.trust_forwarded);
    if client != call.peer {
        record.access.peer = call.lane.peer(client);
    }
    let exempt = bypasses(security, call.peer, || speaks_for_another(head));
    if !exempt && head.path() != UNLISTED {
        match call.prepared.platform.decide(client) {
            Access::Granted => {}
            Access::NotAllowed => return Err(Failure::PlatformNotAllowed),
            Access::Denied => return Err(Failure::PlatformDenied),
        }
    }
    // A tunnel to anywhere has no end and no request behind it.
    if head.method() == "CONNECT" {
        return Err(Failure::Upgrade);
    }
    Ok(call.on(|Arrived| Placed { client, exempt }))
}

/// The client's address, if forwarding fields are to be trusted or not.
pub(crate) fn client<S>(call: &Call<'_, S>, trust: bool) -> IpAddr {
    call.prepared.proxies.client(trust, call.peer, |field| values(call.head, field))
}

fn values<'h>(head: &'h Head, field: &'static str) -> impl DoubleEndedIterator<Item = &'h [u8]> {
    head.all(Name::of(field.as_bytes()))
}

fn speaks_for_another(head: &Head) -> bool {
    forwarded::present(|field| head.named(field).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_proxies_write_speak_for_another() {
        for (field, wanted) in [
            ("X-Forwarded-For: 1.2.3.4", true),
            ("forwarded: for=1.2.3.4", true),
            ("X-Forwarded-Host: a", true),
            ("Via: 1.1 a", true),
            ("True-Client-IP: 1.2.3.4", true),
            ("X-Trace: 1", false),
            ("Via-Nobody: 1", false),
            ("Accept: */*", false),
        ] {
            let mut head = Head::default();
            head.read(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(speaks_for_another(&head), wanted, "{field}");
        }
    }
}
