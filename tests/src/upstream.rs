//! A real upstream: one thread, HTTP/1.1, does what the path says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Starts it; it ends with the test process.
///
/// # Errors
/// When no port can be had.
pub fn start() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let (head, body) = read(&mut reader)?;
        let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/slow" => {
                // Longer than the gateway's patience in the tests.
                writer.set_read_timeout(Some(Duration::from_secs(5)))?;
                reader.read_exact(&mut [0])?;
                return Ok(());
            }
            "/stall" => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")?;
                drop(reader.read_exact(&mut [0]));
                return Ok(());
            }
            // Half at once, half five seconds later.
            "/later" => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
                writer.set_read_timeout(Some(Duration::from_secs(5)))?;
                drop(reader.read_exact(&mut [0]));
                writer.set_read_timeout(None)?;
                writer.write_all(b"later")?;
            }
            // More than any buffer between it and a client that reads nothing.
            "/flood" => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
                for _ in 0..1_000 {
                    writer.write_all(&[b'x'; 100_000])?;
                }
            }
            "/broken" => return Ok(()),
            "/none" => writer.write_all(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n")?,
            _ if head.starts_with("HEAD ") => {
                writer
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n")?;
            }
            _ => {
                let text = format!("{head}\n{}", body.len());
                write!(
                    writer,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Inner: 1\r\nX-Hop: 1\r\nConnection: x-hop\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                )?;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> anyhow::Result<(String, Vec<u8>)> {
    let mut head = String::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "closed");
        if line == "\r\n" {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        chunked |= lower.starts_with("transfer-encoding: chunked");
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
        chunked = size > 0;
    }
    Ok((head, body))
}
