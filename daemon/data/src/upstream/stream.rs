//! The bytes to and from an upstream, plain or by TLS.

use crate::pool::Ticket;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What carries them.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream to an upstream. It counts among the connections of its peer until it is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    wire: Wire,
    /// Of the other side.
    pub(crate) address: IpAddr,
    pub(crate) ticket: Ticket,
}

impl Stream {
    pub(crate) fn new(wire: Wire, address: IpAddr, ticket: Ticket) -> Self {
        Self { wire, address, ticket }
    }

    /// Still open, and nothing came that nobody asked for.
    pub(crate) fn quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        match &mut self.wire {
            Wire::Plain(stream) => match stream.poll_read_ready(&mut context) {
                Poll::Pending => true,
                // Perhaps of the last read, which may have taken all there was.
                Poll::Ready(_) => {
                    let tried = stream.try_read(&mut [0]);
                    tried.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
                }
            },
            // Session tickets are taken on the way.
            Wire::Tls(stream) => {
                let mut byte = [0];
                Pin::new(&mut **stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.wire {
            Wire::Plain(_) => Poll::Ready(Ok(())),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreached {
    #[error("its name: {0}")]
    Unresolved(#[from] super::names::Unresolved),
    #[error("connecting: {0}")]
    Refused(Error),
    /// The reason names the certificate's fault, and no secret.
    #[error("TLS: {0}")]
    Handshake(Error),
}
