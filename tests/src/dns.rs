//! A name server that knows one address for every name, and can be made to tell another or to be silent.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The time of its answers, seconds.
const TTL: u8 = 1;
/// Bytes of a message's head, and where its flags begin and its counts end (RFC 1035 4.1.1).
const HEAD: usize = 12;
/// Of a question for an address of version 4.
const TYPE_A: u8 = 1;

/// A running one; it ends with the test process.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens.
    pub at: SocketAddr,
    told: Arc<AtomicU32>,
    silent: Arc<AtomicBool>,
}

impl NameServer {
    /// Starts one that tells this address; names that begin with `none` do not exist.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(address: Ipv4Addr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let at = socket.local_addr()?;
        let (told, silent) = (Arc::new(AtomicU32::new(address.into())), Arc::<AtomicBool>::default());
        let (tells, quiet) = (Arc::clone(&told), Arc::clone(&silent));
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let asked = bytes.get(..length).unwrap_or_default();
                let answer = answer(asked, Ipv4Addr::from(tells.load(Ordering::SeqCst)));
                if let Some(answer) = answer.filter(|_| !quiet.load(Ordering::SeqCst)) {
                    // Who does not listen any more asks again.
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        Ok(Self { at, told, silent })
    }

    /// Tells this address from now on.
    pub fn tell(&self, address: Ipv4Addr) {
        self.told.store(address.into(), Ordering::SeqCst);
    }

    /// Answers nobody from now on.
    pub fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

fn answer(asked: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let name = asked.get(HEAD..)?;
    // The name, its end, type and class.
    let end = HEAD + name.iter().position(|byte| *byte == 0)? + 5;
    let known = !name.get(1..)?.starts_with(b"none");
    let four = known && *asked.get(end.checked_sub(3)?)? == TYPE_A;
    let mut answer = asked.get(..2)?.to_vec();
    let code = if known { 0x80 } else { 0x83 };
    answer.extend([0x81, code, 0, 1, 0, u8::from(four), 0, 0, 0, 0]);
    answer.extend(asked.get(HEAD..end)?);
    if four {
        answer.extend([0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, TTL, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
