//! What the server is told by its environment (spec/octoprox.md 9.8); every problem at once, no secret in any.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Fewer characters than this can be guessed.
const TOKEN_CHARS: usize = 32;

/// The token, kept as its hash: whoever compares learns nothing from the time it takes, and nothing here can show it.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether a text is the token.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let other = Self::new(text);
        self.0.iter().zip(other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `MCP_BIND_HOST` and `MCP_PORT`; 0.0.0.0:7000 by default.
    pub listen: SocketAddr,
    /// `WORKSPACE_ROOT`, /workspace by default: all that tools may see.
    pub root: PathBuf,
    /// `WORKSPACE_TOKEN`, or what `WORKSPACE_TOKEN_FILE` holds.
    pub token: Token,
    /// `MCP_ALLOWED_HOSTS`, separated by commas; loopback by default, `*` for any.
    pub hosts: Vec<String>,
    /// `MCP_ALLOWED_ORIGINS`, separated by commas; none by default, so that no page of a browser reaches the tools.
    pub origins: Vec<String>,
    /// `WORKSPACE_SSH_KEY`: private key for git over SSH; `.ssh/id_ed25519` in the root by default.
    pub ssh_key: PathBuf,
    /// `WORKSPACE_HOME`: home of git, outside the root; made for one run by default.
    pub home: Option<PathBuf>,
    /// `WORKSPACE_KNOWN_HOSTS`: host keys for it; `.ssh/known_hosts` in the root by default.
    pub known_hosts: PathBuf,
}

struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str, default: &[&str]) -> Vec<String> {
        match self.text(name) {
            Some(text) => {
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
            None => default.iter().map(|part| (*part).to_owned()).collect(),
        }
    }

    /// A path that is also a word of the command line that git hands to a shell.
    fn path(&mut self, name: &str, default: PathBuf) -> PathBuf {
        let path = self.text(name).map_or(default, PathBuf::from);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if !path.is_absolute() || !path.to_string_lossy().chars().all(plain) {
            self.problems.push(format!(
                "{name} = {}: expected an absolute path of letters, digits, dots, dashes and underscores",
                path.display()
            ));
        }
        path
    }

    fn token(&mut self, root: &Path) -> Token {
        let text = match (self.text("WORKSPACE_TOKEN"), self.text("WORKSPACE_TOKEN_FILE")) {
            (Some(text), None) => text.to_owned(),
            (None, Some(file)) if Path::new(file).starts_with(root) => {
                self.problems.push("WORKSPACE_TOKEN_FILE: expected a file outside WORKSPACE_ROOT".to_owned());
                String::new()
            }
            (None, Some(file)) => std::fs::read_to_string(file).unwrap_or_else(|error| {
                self.problems.push(format!("WORKSPACE_TOKEN_FILE = {file}: {error}"));
                String::new()
            }),
            _ => {
                self.problems.push("expected one of WORKSPACE_TOKEN and WORKSPACE_TOKEN_FILE".to_owned());
                String::new()
            }
        };
        let text = text.trim();
        if self.problems.is_empty() && text.chars().count() < TOKEN_CHARS {
            self.problems.push(format!("WORKSPACE_TOKEN: expected at least {TOKEN_CHARS} characters"));
        }
        Token::new(text)
    }
}

/// Reads the settings.
///
/// # Errors
/// All problems, one line each.
pub fn read(environment: &BTreeMap<String, String>) -> Result<Settings, Vec<String>> {
    let mut r = Reader { environment, problems: Vec::new() };
    let root = r.path("WORKSPACE_ROOT", PathBuf::from("/workspace"));
    let host = r.text("MCP_BIND_HOST").unwrap_or("0.0.0.0").parse::<IpAddr>();
    let port = r.text("MCP_PORT").unwrap_or("7000").parse::<u16>();
    if host.is_err() {
        r.problems.push("MCP_BIND_HOST: expected an address, such as 0.0.0.0".to_owned());
    }
    if port.is_err() {
        r.problems.push("MCP_PORT: expected a number from 0 to 65535".to_owned());
    }
    let ssh_key = r.path("WORKSPACE_SSH_KEY", root.join(".ssh/id_ed25519"));
    let known_hosts = r.path("WORKSPACE_KNOWN_HOSTS", root.join(".ssh/known_hosts"));
    let home = r.text("WORKSPACE_HOME").is_some().then(|| r.path("WORKSPACE_HOME", PathBuf::new()));
    if home.as_ref().is_some_and(|home| home.starts_with(&root)) {
        r.problems.push("WORKSPACE_HOME: expected a folder outside WORKSPACE_ROOT".to_owned());
    }
    let hosts = r.list("MCP_ALLOWED_HOSTS", &["localhost", "127.0.0.1", "::1"]);
    let origins = r.list("MCP_ALLOWED_ORIGINS", &[]);
    let token = r.token(&root);
    match (host, port) {
        (Ok(host), Ok(port)) if r.problems.is_empty() => Ok(Settings {
            home,
            listen: SocketAddr::new(host, port),
            root,
            token,
            hosts,
            origins,
            ssh_key,
            known_hosts,
        }),
        _ => Err(r.problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn given(pairs: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn defaults_need_a_token_only() {
        let settings = given(&[("WORKSPACE_TOKEN", TOKEN)]).unwrap();
        assert_eq!(settings.listen.to_string(), "0.0.0.0:7000");
        assert_eq!(settings.root, Path::new("/workspace"));
        assert!(settings.token.is(TOKEN) && !settings.token.is(&TOKEN[1..]));
        assert!(!format!("{settings:?}").contains(TOKEN));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let settings = given(&[("WORKSPACE_TOKEN_FILE", file.to_str().unwrap())]).unwrap();
        assert!(settings.token.is(TOKEN), "the line's end is no part of it");
    }

    #[test]
    fn each_problem_names_its_variable_and_no_secret() {
        let good = ("WORKSPACE_TOKEN", TOKEN);
        for (pairs, name) in [
            (vec![], "WORKSPACE_TOKEN"),
            (vec![good, ("WORKSPACE_TOKEN_FILE", "/x")], "WORKSPACE_TOKEN"),
            (vec![("WORKSPACE_TOKEN", "short-secret")], "WORKSPACE_TOKEN"),
            (vec![("WORKSPACE_TOKEN_FILE", "/nowhere/at/all")], "WORKSPACE_TOKEN_FILE"),
            (vec![("WORKSPACE_TOKEN_FILE", "/workspace/token")], "WORKSPACE_TOKEN_FILE"),
            (vec![good, ("MCP_PORT", "many")], "MCP_PORT"),
            (vec![good, ("MCP_BIND_HOST", "here")], "MCP_BIND_HOST"),
            (vec![good, ("WORKSPACE_ROOT", "workspace")], "WORKSPACE_ROOT"),
            (vec![good, ("WORKSPACE_HOME", "/workspace/.home")], "WORKSPACE_HOME"),
            (vec![good, ("WORKSPACE_SSH_KEY", "/k -o ProxyCommand=x")], "WORKSPACE_SSH_KEY"),
        ] {
            let problems = given(&pairs).unwrap_err().join("\n");
            assert!(problems.contains(name), "{name}: {problems}");
            assert!(!problems.contains(TOKEN) && !problems.contains("short-secret"), "{problems}");
        }
    }
}
