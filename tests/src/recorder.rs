//! An upstream that reads strictly, answers everything alike, and remembers each request it was sent whole.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};

/// A running one; it ends with the test process.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<RwLock<Vec<String>>>,
}

impl Recorder {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, seen) = (listener.local_addr()?, Arc::new(RwLock::default()));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&all);
                std::thread::spawn(move || {
                    if let Err(error) = serve(stream, &seen)
                        && error.to_string() != CLOSED
                    {
                        put(&seen, format!("broken: {error}"));
                    }
                });
            }
        });
        Ok(Self { address, seen })
    }

    /// Method, path and body of each request since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The gateway gave a request up.
const CLOSED: &str = "closed";

fn put(seen: &RwLock<Vec<String>>, text: String) {
    seen.write().unwrap_or_else(PoisonError::into_inner).push(text);
}

fn serve(stream: TcpStream, seen: &RwLock<Vec<String>>) -> anyhow::Result<()> {
    let (mut reader, mut stream) = (BufReader::new(stream.try_clone()?), stream);
    stream.set_nodelay(true)?;
    loop {
        let request = line(&mut reader)?;
        let words: Vec<&str> = request.split(' ').collect();
        let [method, path, "HTTP/1.1"] = words.as_slice() else { anyhow::bail!("request line {request:?}") };
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        loop {
            let field = line(&mut reader)?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(": ").ok_or_else(|| anyhow::anyhow!("field {field:?}"))?;
            match &*name.to_lowercase() {
                "host" => hosts += 1,
                "content-length" if length.is_none() => length = Some(value.parse::<usize>()?),
                "transfer-encoding" if value == "chunked" && !chunked => chunked = true,
                "content-length" | "transfer-encoding" | "trailer" | "te" | "connection" => {
                    anyhow::bail!("field {field:?}")
                }
                _ => {}
            }
        }
        anyhow::ensure!(hosts == 1 && !(chunked && length.is_some()), "framing of {request:?}");
        let body = if chunked { chunks(&mut reader)? } else { exactly(&mut reader, length.unwrap_or(0))? };
        let body: String = body.into_iter().map(char::from).collect();
        put(seen, format!("{method} {path} {body}"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")?;
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes).is_err() || bytes.last() != Some(&b'\n') {
        anyhow::bail!(CLOSED);
    }
    let text: String = bytes.into_iter().map(char::from).collect();
    let text = text.strip_suffix("\r\n").ok_or_else(|| anyhow::anyhow!("line {text:?}"))?;
    anyhow::ensure!(!text.contains(['\r', '\0']), "line {text:?}");
    Ok(text.to_owned())
}

fn exactly(reader: &mut BufReader<TcpStream>, length: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).map_err(|_| anyhow::anyhow!(CLOSED))?;
    Ok(body)
}

fn chunks(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?;
        anyhow::ensure!(size.bytes().all(|byte| byte.is_ascii_hexdigit()), "size {size:?}");
        let size = usize::from_str_radix(&size, 16)?;
        body.extend(exactly(reader, size)?);
        let end = line(reader)?;
        anyhow::ensure!(end.is_empty(), "behind a chunk {end:?}");
        if size == 0 {
            return Ok(body);
        }
    }
}
