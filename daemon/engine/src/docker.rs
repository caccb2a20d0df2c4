//! Docker, and Podman by the same API, through bollard: the only file that names it.

use crate::{Engine, EngineError, Version, Waiting};
use bollard::{API_DEFAULT_VERSION, errors::Error};
use std::error::Error as _;
use std::io::ErrorKind;

/// Seconds after which bollard itself gives up; callers bound their calls more tightly.
const TIMEOUT_SECS: u64 = 120;

/// An engine at an address. Each call connects anew, so that one which comes later is found.
#[derive(Debug, Clone)]
pub struct Docker {
    host: String,
    /// Somebody named it.
    wanted: bool,
}

impl Docker {
    /// An engine at `unix:///PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`; nothing is connected yet.
    #[must_use]
    pub fn at(host: &str) -> Self {
        Self { host: host.to_owned(), wanted: true }
    }

    /// As [`Docker::at`], where an engine usually is and nobody asked for one: a socket that is not for us is then no fault.
    #[must_use]
    pub fn usual(host: &str) -> Self {
        Self { host: host.to_owned(), wanted: false }
    }

    /// Whether [`Docker::at`] can do with an address.
    ///
    /// # Errors
    /// What was expected, for the message of a setting.
    pub fn check(host: &str) -> Result<(), String> {
        let expected = "expected unix:///PATH, tcp://HOST:PORT, or none";
        match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(()),
            Some(("tcp" | "http", address)) if is_address(address) => Ok(()),
            Some(("https" | "ssh", _)) => Err(format!("{expected}; TLS and SSH are not spoken to an engine")),
            _ => Err(expected.to_owned()),
        }
    }

    fn connect(&self) -> Result<bollard::Docker, Error> {
        match self.host.strip_prefix("unix://") {
            Some(path) => bollard::Docker::connect_with_socket(path, TIMEOUT_SECS, API_DEFAULT_VERSION),
            None => bollard::Docker::connect_with_http(&self.host, TIMEOUT_SECS, API_DEFAULT_VERSION),
        }
    }

    fn told(&self, error: &Error) -> EngineError {
        let place = self.host.trim_start_matches("unix://").to_owned();
        match (error, kind(error)) {
            (Error::SocketNotFoundError(_), _) | (_, Some(ErrorKind::NotFound)) => EngineError::Absent(place),
            (_, Some(ErrorKind::PermissionDenied)) if !self.wanted => EngineError::NotOurs(place),
            (_, Some(ErrorKind::PermissionDenied)) => EngineError::Denied(place),
            (_, Some(ErrorKind::ConnectionRefused)) => EngineError::Refused(place),
            _ => EngineError::Failed(format!("{place}: {error}")),
        }
    }
}

/// Whether a text is `HOST:PORT`, without a name and a password, a path or a blank.
fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c);
    let parts = text.rsplit_once(':');
    !text.contains(odd) && parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The kind of the I/O error that lies under an error.
fn kind(error: &Error) -> Option<ErrorKind> {
    // Their texts name the cause, so `source` does not lead to it.
    let mut cause = match error {
        Error::IOError { err } => return Some(err.kind()),
        Error::HyperLegacyError { err } => err.source(),
        other => other.source(),
    };
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

impl Engine for Docker {
    fn version(&self) -> Waiting<'_, Version> {
        Box::pin(async move {
            let docker = self.connect().map_err(|error| self.told(&error))?;
            let said = docker.version().await.map_err(|error| self.told(&error))?;
            let known = |text: Option<String>| text.filter(|text| !text.is_empty());
            let engine = || EngineError::Failed(format!("{}: it names no API version", self.host));
            let api = known(said.api_version).ok_or_else(engine)?;
            let first = said.components.and_then(|parts| parts.into_iter().next()).map(|part| part.name);
            let name = match known(first) {
                Some(name) if name != "Engine" => name,
                _ => "Docker".to_owned(),
            };
            Ok(Version { name, release: known(said.version).unwrap_or_else(|| "unknown".to_owned()), api })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    fn at(path: &std::path::Path) -> Docker {
        Docker::at(&format!("unix://{}", path.display()))
    }

    #[test]
    fn addresses() {
        for good in ["unix:///var/run/docker.sock", "tcp://docker-socket-proxy:2375", "http://10.0.0.1:2375"]
        {
            assert_eq!(Docker::check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/var/run/docker.sock",
            "unix://docker.sock",
            "tcp://",
            "tcp://nowhere",
            "tcp://:",
            "tcp://u:p@h:1",
        ] {
            assert!(Docker::check(bad).is_err_and(|why| why.contains("unix:///PATH")), "{bad}");
        }
        for other in ["https://h:2376", "ssh://root@h"] {
            assert!(Docker::check(other).is_err_and(|why| why.contains("TLS and SSH")), "{other}");
        }
    }

    /// Answers one request with these bytes.
    async fn answering(body: &'static str) -> Result<Version, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        };
        let docker = at(&path);
        let (said, ()) = tokio::join!(docker.version(), serve);
        said
    }

    #[tokio::test]
    async fn an_engine_says_who_it_is() {
        let said = answering(
            r#"{"Components":[{"Name":"Podman Engine","Version":"5"}],"Version":"5.1","ApiVersion":"1.41"}"#,
        );
        let version = Version { name: "Podman Engine".into(), release: "5.1".into(), api: "1.41".into() };
        assert_eq!(said.await, Ok(version));
        let said = answering(
            r#"{"Components":[{"Name":"Engine","Version":"20"}],"Version":"20","ApiVersion":"1.41"}"#,
        );
        assert_eq!(said.await.map(|version| version.name), Ok("Docker".into()));
        for odd in ["{}", "[]", "<html>", r#"{"ApiVersion":""}"#] {
            assert!(matches!(answering(odd).await, Err(EngineError::Failed(_))), "{odd}");
        }
    }

    #[tokio::test]
    async fn what_keeps_it_from_answering_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        assert!(matches!(at(&path).version().await, Err(EngineError::Absent(_))));
        drop(UnixListener::bind(&path).unwrap());
        let refused = at(&path).version().await;
        assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = Docker::at(&format!("tcp://{free}")).version().await;
        assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    }

    #[test]
    fn a_denied_socket_is_told_apart() {
        // Root may everything, so the error is made.
        let denied = Error::from(std::io::Error::from(ErrorKind::PermissionDenied));
        assert_eq!(Docker::at("unix:///s").told(&denied), EngineError::Denied("/s".into()));
        assert_eq!(Docker::usual("unix:///s").told(&denied), EngineError::NotOurs("/s".into()));
    }
}
