//! A list of signing keys, as Doorman's `JWT_KEYS` gives them (spec/doorman.md 2.4).

use super::secrets::weakness;
use gatehouse_common::secret::Secret;
use serde::Deserialize;

/// One key of the list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) secret: Secret<String>,
    #[serde(default = "symmetric")]
    algorithm: String,
    #[serde(default)]
    active: bool,
}

fn symmetric() -> String {
    "HS256".to_owned()
}

/// Reads the list; the one that signs comes first.
///
/// # Errors
/// What was expected of which entry; no secret in it.
pub(crate) fn keys(text: &str) -> Result<Vec<SigningKey>, String> {
    let expected = "expected a JSON list of objects with kid, secret and active";
    // The parser's own words could quote a secret.
    let mut keys: Vec<SigningKey> = serde_json::from_str(text)
        .map_err(|error| format!("{expected} (line {}, column {})", error.line(), error.column()))?;
    for (index, key) in keys.iter().enumerate() {
        let number = index + 1;
        if key.algorithm != "HS256" {
            return Err(format!("entry {number}: algorithm {:?}; expected HS256", key.algorithm));
        }
        if key.kid.is_empty() || keys.iter().take(index).any(|other| other.kid == key.kid) {
            return Err(format!("entry {number}: kid: expected a name of its own"));
        }
        if let Some(why) = weakness(key.secret.expose()) {
            return Err(format!("entry {number}: secret: {why}"));
        }
        if keys.iter().take(index).any(|other| other.secret.expose() == key.secret.expose()) {
            return Err(format!("entry {number}: secret: equals an earlier one"));
        }
    }
    if keys.iter().filter(|key| key.active).count() != 1 {
        return Err("expected exactly one entry with \"active\": true".to_owned());
    }
    keys.sort_by_key(|key| !key.active);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

    fn entry(kid: &str, secret: &str, rest: &str) -> String {
        format!("{{\"kid\":\"{kid}\",\"secret\":\"{secret}\"{rest}}}")
    }

    #[test]
    fn the_active_key_comes_first() {
        let other = LONG.to_uppercase();
        let text = format!("[{},{}]", entry("old", LONG, ""), entry("new", &other, ",\"active\":true"));
        let kids: Vec<String> = keys(&text).unwrap().into_iter().map(|key| key.kid).collect();
        assert_eq!(kids, ["new", "old"]);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_told() {
        let active = ",\"active\":true";
        for (text, part) in [
            (LONG.to_owned(), "JSON list"),
            (format!("[{}]", entry("a", LONG, "")), "exactly one"),
            (format!("[{}]", entry("a", "short", active)), "entry 1: secret"),
            (format!("[{}]", entry("a", LONG, ",\"active\":true,\"algorithm\":\"RS256\"")), "HS256"),
            (format!("[{},{}]", entry("a", LONG, active), entry("a", LONG, "")), "entry 2: kid"),
            (format!("[{},{}]", entry("a", LONG, active), entry("b", LONG, "")), "equals"),
        ] {
            let said = keys(&text).unwrap_err();
            assert!(said.contains(part) && !said.contains(LONG) && !said.contains("short\""), "{said}");
        }
    }
}
