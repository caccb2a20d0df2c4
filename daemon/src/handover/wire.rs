//! The socket between the old and the new process: messages with a tag, and descriptors.

use rustix::io::ioctl_fionbio;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::io::Interest;

/// Longest message, bytes: a head and what was read ahead, with room to spare; below what a socket's buffer takes.
const MESSAGE_BYTES: usize = 128 * 1024;

/// What is said.
#[derive(Debug)]
pub(crate) enum Word {
    /// New to old: the settings are read; nothing was touched.
    Loaded,
    /// Old to new: the store is closed.
    Go,
    /// New to old: serving.
    Ready,
    /// Old to new: the service manager was told that you are the service.
    Main,
    /// Old to new: a connection between two requests, its client, and what was read of it.
    Connection(TcpStream, SocketAddr, Vec<u8>),
}

impl Word {
    fn tag(&self) -> u8 {
        match self {
            Self::Loaded => b'L',
            Self::Go => b'G',
            Self::Ready => b'R',
            Self::Main => b'M',
            Self::Connection(..) => b'C',
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.tag() == other.tag()
    }
}

/// One end. The type is the nearest that tokio watches: nothing of it is used but that.
#[derive(Debug)]
pub(crate) struct Wire(tokio::net::UnixStream);

/// Family and type of the socket, as getsockopt(2) names them.
pub(super) fn kind() -> (i32, i32) {
    let number = |raw: u32| i32::try_from(raw).unwrap_or_default();
    (i32::from(AddressFamily::UNIX.as_raw()), number(SocketType::SEQPACKET.as_raw()))
}

/// Our end, and the one for the new process.
pub(super) fn pair() -> Result<(Wire, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Wire::new(ours)?, theirs))
}

impl Wire {
    /// An end that was inherited.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        ioctl_fionbio(&socket, true)?;
        tokio::net::UnixStream::from_std(UnixStream::from(socket)).map(Self)
    }

    /// Says something; waits while the other end is behind.
    ///
    /// # Errors
    /// When the other end is gone, or the message too long.
    pub(crate) async fn send(&self, word: &Word) -> Result<()> {
        let mut head = vec![word.tag()];
        let (bytes, descriptor) = match word {
            Word::Connection(stream, peer, input) => {
                head.extend_from_slice(format!("{peer}\n").as_bytes());
                (input.as_slice(), Some(stream.as_fd()))
            }
            _ => (&[][..], None),
        };
        if head.len() + bytes.len() > MESSAGE_BYTES {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.0
            .async_io(Interest::WRITABLE, || write(self.0.as_fd(), [&head, bytes], descriptor.as_slice()))
            .await
    }

    /// Hears something; `None` once the other end is gone. A call that is dropped has heard nothing.
    ///
    /// # Errors
    /// What is no word of ours.
    pub(crate) async fn receive(&self) -> Result<Option<Word>> {
        let mut bytes = vec![0; MESSAGE_BYTES];
        let (count, descriptor) =
            self.0.async_io(Interest::READABLE, || read(self.0.as_fd(), &mut bytes)).await?;
        let unknown = || Error::from(ErrorKind::InvalidData);
        let Some((tag, rest)) = bytes.get(..count).and_then(<[u8]>::split_first) else { return Ok(None) };
        match (tag, descriptor) {
            (b'L', None) => Ok(Some(Word::Loaded)),
            (b'G', None) => Ok(Some(Word::Go)),
            (b'R', None) => Ok(Some(Word::Ready)),
            (b'M', None) => Ok(Some(Word::Main)),
            (b'C', Some(stream)) => {
                let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(unknown)?;
                let (peer, input) = rest.split_at(end);
                let peer =
                    std::str::from_utf8(peer).ok().and_then(|peer| peer.parse().ok()).ok_or_else(unknown)?;
                let input = input.get(1..).unwrap_or_default().to_vec();
                Ok(Some(Word::Connection(TcpStream::from(stream), peer, input)))
            }
            _ => Err(unknown()),
        }
    }
}

fn write(socket: BorrowedFd<'_>, parts: [&[u8]; 2], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &parts.map(IoSlice::new), &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn read(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok((message.bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[tokio::test]
    async fn words_and_connections_come_as_they_were_sent_and_an_end_shows() {
        let (ours, theirs) = pair().unwrap();
        let theirs = Wire::new(theirs).unwrap();
        for word in [Word::Loaded, Word::Go, Word::Ready, Word::Main] {
            ours.send(&word).await.unwrap();
            assert_eq!(theirs.receive().await.unwrap().unwrap(), word);
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for input in [Vec::new(), b"GET /".to_vec(), vec![b'x'; 100_000]] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let named = SocketAddr::from(([2001, 0xdb8, 0, 0, 0, 0, 0, 7], 443));
            let moved = Word::Connection(listener.accept().unwrap().0, named, input.clone());
            ours.send(&moved).await.unwrap();
            drop(moved);
            let Some(Word::Connection(mut stream, peer, came)) = theirs.receive().await.unwrap() else {
                panic!()
            };
            assert_eq!((peer, came), (named, input));
            stream.write_all(b"answer").unwrap();
            drop(stream);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "answer");
        }
        write(ours.0.as_fd(), [b"?", b""], &[]).unwrap();
        assert_eq!(theirs.receive().await.unwrap_err().kind(), ErrorKind::InvalidData);
        drop(ours);
        assert_eq!(theirs.receive().await.unwrap(), None);
        assert!(theirs.send(&Word::Go).await.is_err());
    }
}
