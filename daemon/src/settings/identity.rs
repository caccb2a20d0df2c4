//! Settings of who callers are.

use super::checked::Reader;
use gatehouse_common::secret::Secret;
use gatehouse_control::{Identity, Oidc};
use std::sync::Arc;

impl Reader<'_> {
    pub(super) fn identity(&mut self) -> Identity {
        Identity {
            endless_tokens: self.flag("endless_tokens"),
            account_failures: self.number("login_account_failures", 0, 1_000_000),
            require_totp: self.flag("require_totp_for_admins"),
            public_base_url: self.base_url(),
            oidc: self.oidc().map(Arc::new),
        }
    }

    fn oidc(&mut self) -> Option<Oidc> {
        let issuer = self.optional("oidc_issuer")?;
        let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        if !issuer.starts_with("https://") && !local.iter().any(|own| issuer.starts_with(own)) {
            self.problem("oidc_issuer", "expected an https address, or an http one of this machine");
        }
        if self.optional("public_base_url").is_none() {
            self.problem(
                "oidc_issuer",
                "expected public_base_url too, since the provider sends browsers back there",
            );
        }
        let client_id = self.text("oidc_client_id");
        if client_id.is_empty() {
            self.problem("oidc_client_id", "expected a name, since oidc_issuer is set");
        }
        let scopes = self.text("oidc_scopes");
        if !scopes.split_whitespace().any(|scope| scope == "openid") {
            self.problem("oidc_scopes", "expected openid among them");
        }
        Some(Oidc {
            issuer,
            client_id,
            client_secret: self.optional("oidc_client_secret").map(Secret::new),
            scopes,
            user_claim: self.text("oidc_user_claim"),
            group_claim: self.text("oidc_group_claim"),
            roles: self.roles(),
            default_role: self.optional("oidc_default_role"),
        })
    }

    fn roles(&mut self) -> Vec<(String, String)> {
        let mut roles = Vec::new();
        for item in self.list("oidc_roles") {
            match item.split_once('=').map(|(group, role)| (group.trim(), role.trim())) {
                Some((group, role)) if !group.is_empty() && !role.is_empty() => {
                    roles.push((group.to_owned(), role.to_owned()));
                }
                _ => self.problem("oidc_roles", format!("{item:?}: expected GROUP=ROLE")),
            }
        }
        roles
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
