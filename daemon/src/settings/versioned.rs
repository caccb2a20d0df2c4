//! Settings of the surface below `/api/v1` (spec/octoprox.md 11).

use super::checked::Reader;
use gatehouse_common::secret::Secret;
use gatehouse_control::{Networks, Versioned};

/// Shortest secret of introspection, characters.
const SECRET_CHARS: usize = 16;

impl Reader<'_> {
    pub(super) fn versioned(&mut self) -> Versioned {
        let secret = self.optional("introspect_secret").map(Secret::new);
        if secret.as_ref().is_some_and(|secret| secret.expose().chars().count() < SECRET_CHARS) {
            self.problem("introspect_secret", format!("expected at least {SECRET_CHARS} characters"));
        }
        let workspace_networks = self.text("workspace_networks").parse().unwrap_or_else(|why| {
            self.problem("workspace_networks", why);
            Networks::default()
        });
        if self.text("jwt_algorithm").trim() != "HS256" {
            self.problem("jwt_algorithm", "expected HS256; no other one is signed or accepted");
        }
        Versioned {
            introspect_secret: secret,
            workspace_networks,
            requests_per_minute: self.number("api_rate_limit", 1, 1_000_000),
            auth_per_minute: self.number("auth_rate_limit", 1, 1_000_000),
            hsts: self.hsts(),
        }
    }

    fn hsts(&mut self) -> Option<String> {
        let (seconds, whole) =
            (self.number("hsts_max_age", 0_u64, 63_072_000), self.flag("hsts_include_subdomains"));
        let domains = if whole { "; includeSubDomains" } else { "" };
        self.flag("hsts").then(|| format!("max-age={seconds}{domains}"))
    }
}
