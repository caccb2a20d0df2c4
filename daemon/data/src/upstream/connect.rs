//! Opens a connection: finds the addresses of a name, tries them in turn, shakes hands where TLS is spoken.

use super::names::Names;
use super::peer::{Host, Peer};
use super::stream::{Unreached, Wire};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The next address is tried beside the first once that has taken so long (RFC 8305 5).
const NEXT: Duration = Duration::from_millis(250);

/// A stream to a peer, and the address at its other end. It takes as long as it takes.
pub(crate) async fn connect(peer: &Peer, names: &Names) -> Result<(Wire, IpAddr), Unreached> {
    let stream = match &peer.host {
        Host::Address(address) => TcpStream::connect(SocketAddr::new(*address, peer.port)).await,
        Host::Name(name) => first(&names.resolve(name).await?, peer.port).await,
    };
    let stream = stream.map_err(Unreached::Refused)?;
    stream.set_nodelay(true).map_err(Unreached::Refused)?;
    let address = stream.peer_addr().map_err(Unreached::Refused)?.ip();
    let Some(tls) = &peer.tls else { return Ok((Wire::Plain(stream), address)) };
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let stream = connector.connect(tls.name.clone(), stream).await.map_err(Unreached::Handshake)?;
    Ok((Wire::Tls(Box::new(stream)), address))
}

/// The first of these addresses that takes a connection: the next one is tried when one fails or takes long.
async fn first(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut left = addresses.iter().map(|address| SocketAddr::new(*address, port));
    let mut trying: FuturesUnordered<_> = left.next().map(TcpStream::connect).into_iter().collect();
    loop {
        let tried = tokio::select! {
            tried = trying.next() => tried,
            () = tokio::time::sleep(NEXT), if left.len() > 0 => {
                trying.extend(left.next().map(TcpStream::connect));
                continue;
            }
        };
        match tried {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) if left.len() == 0 && trying.is_empty() => return Err(error),
            Some(Err(_)) => trying.extend(left.next().map(TcpStream::connect)),
            None => return Err(ErrorKind::AddrNotAvailable.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stream::tests::run;

    #[test]
    fn addresses_are_tried_until_one_answers() {
        run(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let parse =
                |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
            for (addresses, well) in [
                (parse(&["127.0.0.1"]), true),
                (parse(&["127.0.0.2", "127.0.0.1"]), true),
                // An address for documents: it answers nothing, or is refused where there is no way to it.
                (parse(&["192.0.2.1", "127.0.0.2", "127.0.0.1"]), true),
                (parse(&["127.0.0.2", "127.0.0.3"]), false),
                (parse(&[]), false),
            ] {
                let begun = std::time::Instant::now();
                let found = first(&addresses, port).await;
                let found = found.ok().map(|stream| stream.peer_addr().unwrap().ip());
                assert_eq!(found, well.then(|| "127.0.0.1".parse().unwrap()), "{addresses:?}");
                assert!(begun.elapsed() < Duration::from_secs(2), "{addresses:?}");
            }
        });
    }
}
