//! Settings of who callers are.

use super::checked::Reader;
use gatehouse_control::Identity;

impl Reader<'_> {
    pub(super) fn identity(&mut self) -> Identity {
        Identity {
            endless_tokens: self.flag("endless_tokens"),
            account_failures: self.number("login_account_failures", 0, 1_000_000),
            require_totp: self.flag("require_totp_for_admins"),
            public_base_url: self.base_url(),
        }
    }

    fn base_url(&mut self) -> Option<String> {
        let text = self.optional("public_base_url")?;
        let url = text.trim().trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\"'<>\\".contains(&byte));
        if host.is_empty() || host.starts_with(':') || !plain {
            self.problem("public_base_url", "expected http:// or https:// with a host, and a path at most");
        }
        Some(url.to_owned())
    }
}
