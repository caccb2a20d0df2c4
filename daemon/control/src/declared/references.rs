//! Secrets by reference: a file names where one is, never the secret itself. They are read where no request waits.

use super::document::Item;
use super::fault;
use crate::state::{Fields as _, State};
use crate::subjects::sealing::Sealer;
use gatehouse_common::ops::config::ConfigFault;
use gatehouse_common::secret::Secret;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;

/// Largest secret, bytes.
const SECRET_BYTES: u64 = 65_536;

/// Secrets by the reference that names them.
#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeMap<String, Secret<String>>);

impl Secrets {
    /// The secret of a reference that was read.
    pub(super) fn get(&self, reference: &str) -> Option<&Secret<String>> {
        self.0.get(reference)
    }
}

/// The references within an item.
fn references(item: &Item) -> Vec<String> {
    let own = |names: &[&str]| names.iter().filter_map(|name| item.value.get(*name)).collect::<Vec<_>>();
    let places = match item.section {
        "credits" => own(&["api_key", "api_key_new"]),
        "vault" => own(&["value"]),
        "apis" => {
            let security = item.value.get("api_ws_security");
            security.and_then(|security| security.get("password")).into_iter().collect()
        }
        "users" => {
            let accounts = item.value.get("credits").and_then(Value::as_object);
            let keys = accounts.into_iter().flat_map(|groups| groups.values());
            own(&["password"])
                .into_iter()
                .chain(keys.filter_map(|account| account.get("user_api_key")))
                .collect()
        }
        _ => Vec::new(),
    };
    places.into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Reads one file of a secret; a last line's end is no part of it.
fn from_file(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("expected an absolute path".to_owned());
    }
    let failed = |error: std::io::Error| format!("{path}: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{path}: expected a file"));
    }
    file.take(SECRET_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > SECRET_BYTES {
        return Err(format!("{path}: expected at most {SECRET_BYTES} bytes"));
    }
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
        .to_owned())
}

/// Where secrets are read.
pub(super) struct Sources<'s> {
    pub(super) environment: fn(&str) -> Option<String>,
    pub(super) state: &'s State,
    pub(super) sealer: &'s Sealer,
}

impl Sources<'_> {
    fn one(&self, reference: &str) -> Result<Secret<String>, String> {
        let expected = "expected a reference to a secret: file:/PATH, env:NAME or vault:USER/NAME";
        let (kind, name) = reference.split_once(':').ok_or(expected)?;
        let text = match kind {
            "file" => from_file(name)?,
            "env" => (self.environment)(name).ok_or(format!("env:{name}: there is no such variable"))?,
            "vault" => {
                let row = self.state.get("vault", name).ok_or(format!("vault:{name}: no such entry"))?;
                let open = self.sealer.open(&format!("vault/{name}"), row.text("value"));
                return open.ok_or(format!("vault:{name}: it cannot be opened with this encryption key"));
            }
            _ => return Err(expected.to_owned()),
        };
        if text.is_empty() { Err(format!("{reference}: it is empty")) } else { Ok(Secret::new(text)) }
    }

    /// Reads the secrets of items. Blocks on the disk.
    ///
    /// # Errors
    /// Everything that is wrong; no secret in it.
    pub(super) fn read(&self, items: &[Item]) -> Result<Secrets, Vec<ConfigFault>> {
        let (mut secrets, mut faults) = (Secrets::default(), Vec::new());
        for item in items {
            for reference in references(item) {
                match self.one(&reference) {
                    Ok(secret) => drop(secrets.0.insert(reference, secret)),
                    Err(text) => faults.push(fault(&item.place, text)),
                }
            }
        }
        if faults.is_empty() { Ok(secrets) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::secret::Secret;
    use serde_json::json;

    #[test]
    fn a_secret_is_read_where_it_is_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "s3cret\r\n").unwrap();
        let (state, sealer) = (State::default(), Sealer::new(&Secret::new("x".repeat(32))).unwrap());
        let environment = |name: &str| (name == "KEY").then(|| "from-env".to_owned());
        let sources = Sources { environment, state: &state, sealer: &sealer };
        let item = |reference: &str| Item {
            section: "credits",
            place: "a.toml:3".to_owned(),
            value: json!({"api_key": reference, "api_key_header": "env:NONE"}).as_object().cloned().unwrap(),
        };
        let file = format!("file:{}", path.display());
        let read = sources.read(&[item(&file), item("env:KEY")]).unwrap();
        assert_eq!(read.get(&file).unwrap().expose(), "s3cret");
        assert_eq!(read.get("env:KEY").unwrap().expose(), "from-env");
        for bad in [
            "plain-secret",
            "file:relative",
            "file:/none/such",
            "env:NONE",
            "vault:ana/none",
            "file:/dev/zero",
        ] {
            let faults = sources.read(&[item(bad)]).unwrap_err();
            assert_eq!(faults[0].place, "a.toml:3");
            assert!(!faults[0].detail.contains("plain-secret"), "{faults:?}");
        }
    }
}
