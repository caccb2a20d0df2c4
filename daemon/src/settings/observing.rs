//! Settings of what is recorded and shown: names to redact, access to `/metrics`; and what may be looked at.

use super::checked::Reader;
use gatehouse_common::redact::Redactor;
use gatehouse_common::secret::Secret;
use gatehouse_control::{EgressAllow, MetricsAccess, Networks};

/// Shortest token of `/metrics`, characters.
const TOKEN_CHARS: usize = 16;

impl Reader<'_> {
    pub(super) fn redact_fields(&mut self) -> Vec<String> {
        let names = self.list("redact_fields");
        if let Err(why) = Redactor::new(names.iter().map(String::as_str)) {
            self.problem("redact_fields", why);
        }
        names
    }

    pub(super) fn egress_allow(&mut self) -> EgressAllow {
        self.text("egress_allow").parse().unwrap_or_else(|why| {
            self.problem("egress_allow", why);
            EgressAllow::default()
        })
    }

    pub(super) fn metrics(&mut self) -> MetricsAccess {
        let token = self.optional("prometheus_token").map(Secret::new);
        if token.as_ref().is_some_and(|token| token.expose().chars().count() < TOKEN_CHARS) {
            self.problem("prometheus_token", format!("expected at least {TOKEN_CHARS} characters"));
        }
        let allowed = self.text("prometheus_allowlist").parse().unwrap_or_else(|why| {
            self.problem("prometheus_allowlist", why);
            Networks::default()
        });
        MetricsAccess {
            enabled: self.flag("prometheus_enabled"),
            public: self.flag("prometheus_public"),
            token,
            allowed,
            trust_forwarded: self.flag("prometheus_trust_forwarded"),
            apis_max: self.number("prometheus_apis_max", 0, 10_000),
        }
    }
}
