//! What single settings cannot tell: whether they go together, and what production refuses.

use super::checked::{Reader, Settings};
use super::secrets::{KEY_CHARS, PASSWORD_CHARS};
use gatehouse_common::secret::Secret;

/// The first administrator, and keys that are each one of their own.
pub(super) fn identity(r: &mut Reader<'_>, settings: &Settings) {
    let length = settings.admin_username.chars().count();
    if !(3..=50).contains(&length) {
        r.problem("admin_username", "expected 3 to 50 characters");
    }
    if !settings.admin_email.contains('@') {
        r.problem("admin_email", "expected an e-mail address");
    }
    let short = |password: &Secret<String>| password.expose().chars().count() < PASSWORD_CHARS;
    if settings.admin_password.as_ref().is_some_and(short) {
        r.problem("admin_password", format!("expected at least {PASSWORD_CHARS} characters"));
    }
    let keys = [
        ("signing_key", &settings.signing_key),
        ("signing_key_previous", &settings.signing_key_previous),
        ("encryption_key", &settings.encryption_key),
        ("admin_password", &settings.admin_password),
    ];
    for (index, (name, key)) in keys.iter().enumerate() {
        for (other, earlier) in keys.iter().take(index) {
            let equal = key.as_ref().zip(earlier.as_ref()).is_some_and(|(a, b)| a.expose() == b.expose());
            if equal {
                r.problem(
                    name,
                    format!("equals {other}; expected a value of its own ({KEY_CHARS} characters or more)"),
                );
            }
        }
    }
}

/// What `env = "production"` refuses.
pub(super) fn production(r: &mut Reader<'_>, tls_in_front: bool) {
    let bypass = r.optional("localhost_bypass").is_some_and(|_| r.flag("localhost_bypass"));
    let credentials = r.flag("allow_credentials");
    // `Production` and `prod` are meant so; what the shell keeps under this name is not.
    if !r.text("env").trim().to_lowercase().starts_with("prod") {
        return;
    }
    if !tls_in_front {
        r.problem("tls_in_front", "production needs TLS: put a TLS proxy in front and declare it with true");
    }
    if credentials && r.text("allowed_origins").split(',').any(|origin| origin.trim() == "*") {
        r.problem(
            "allowed_origins",
            "production refuses * together with allow_credentials; list the origins",
        );
    }
    if bypass {
        r.problem("localhost_bypass", "production refuses it; expected false");
    }
}
