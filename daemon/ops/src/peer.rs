//! Who is at the other end of a connection: kernel credentials and the door give the actor.

use crate::attached::{Attached, Ticket};
use crate::socket::OPERATE;
use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use gatehouse_common::ops::hello::{Attached as Entry, Door};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::clock::Clock;
use std::any::Any;
use tokio::net::UnixStream;

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) actor: Actor,
    pub(crate) door: Door,
}

/// Learns who connected; kept with the connection.
pub(crate) fn learn(io: &dyn Any, extensions: &mut Extensions, attached: &Attached, clock: &Clock) {
    let Some(stream) = io.downcast_ref::<UnixStream>() else { return };
    let address = stream.local_addr().ok();
    let name = address.as_ref().and_then(|address| address.as_pathname()?.file_name());
    // Anything but the operate socket may only look.
    let operate = name.is_some_and(|name| name == OPERATE);
    let door = if operate { Door::Operate } else { Door::View };
    let Ok(credentials) = stream.peer_cred() else { return };
    let uid = credentials.uid();
    // Without a name the number has to do.
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let actor = Actor::Peer { uid, name: user.map(|user| user.name), pid: credentials.pid(), operate };
    let entry = Entry { actor: actor.to_string(), door, since_unix_ms: clock.unix_ms() };
    extensions.insert::<Ticket>(attached.enter(entry));
    extensions.insert(Peer { actor, door });
}

/// The peer of a request.
pub(crate) fn of(request: &HttpRequest) -> Result<Peer, Problem> {
    let unknown = || Problem::new(Code::NotPermitted, "the kernel did not say who you are");
    request.conn_data::<Peer>().cloned().ok_or_else(unknown)
}

/// Refuses what a browser sends: a page must not reach the socket through some proxy (DNS rebinding).
pub(crate) fn no_browser(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let told = ["origin", "referer", "sec-fetch-site", "sec-fetch-mode"];
    if let Some(name) = told.iter().find(|name| headers.contains_key(**name)) {
        return Err(Problem::new(Code::BrowserRefused, format!("the request has the header {name:?}")));
    }
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.split(':').next() == Some("gatehouse") {
        return Ok(());
    }
    Err(Problem::new(Code::BrowserRefused, format!("Host {host:?}: expected \"gatehouse\"")))
}
