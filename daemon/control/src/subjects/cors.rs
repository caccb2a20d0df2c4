//! Cross-origin rules of the management surface (spec/doorman.md 4.22, 4.23).

use crate::config::PlatformCors;

/// Request headers that a page may send unless the settings say otherwise.
pub(crate) const USUAL_HEADERS: &str =
    "Accept,Content-Type,X-CSRF-Token,Authorization,X-Requested-With,X-Request-ID";
/// Seconds that a browser may remember a preflight's answer.
const REMEMBERED_SECS: &str = "600";

/// Header lines, in order.
pub(crate) type Lines = Vec<(&'static str, String)>;

fn local(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

impl PlatformCors {
    fn any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// What `Access-Control-Allow-Origin` says to this origin. `*` never goes with credentials: any page could act in
    /// the name of whoever looks at it.
    pub(crate) fn allowed(&self, origin: &str) -> Option<String> {
        let named = self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
        match self.any() && !named {
            _ if origin.is_empty() => None,
            true if self.strict => local(origin).then(|| origin.to_owned()),
            true => Some("*".to_owned()),
            false => named.then(|| origin.to_owned()),
        }
    }

    /// Header lines of an answer to a page of this origin.
    pub(crate) fn actual(&self, origin: &str) -> Lines {
        let Some(allowed) = self.allowed(origin) else { return Lines::new() };
        let credentials = self.credentials && allowed != "*";
        let mut lines = vec![("access-control-allow-origin", allowed)];
        lines.extend(credentials.then(|| ("access-control-allow-credentials", "true".to_owned())));
        lines.push(("access-control-expose-headers", "X-Request-ID, Retry-After".to_owned()));
        lines
    }

    /// Header lines of the answer to a preflight.
    pub(crate) fn preflight(&self, origin: &str) -> Lines {
        let mut lines = self.actual(origin);
        if lines.is_empty() {
            return lines;
        }
        lines.retain(|(name, _)| *name != "access-control-expose-headers");
        lines.push(("access-control-allow-methods", self.methods.join(", ")));
        lines.push(("access-control-allow-headers", self.headers.join(", ")));
        lines.push(("access-control-max-age", REMEMBERED_SECS.to_owned()));
        lines
    }

    /// Which of these request headers a page may not send.
    pub(crate) fn refused_headers(&self, asked: &[String]) -> Vec<String> {
        let known =
            |name: &String| self.headers.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(name));
        asked.iter().filter(|name| !known(name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], strict: bool) -> PlatformCors {
        PlatformCors {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            credentials: true,
            strict,
            ..PlatformCors::default()
        }
    }

    #[test]
    fn credentials_go_only_to_origins_that_are_named() {
        for (cors, origin, allowed, credentials) in [
            (cors(&[], false), "https://a.org", None, false),
            (cors(&["https://a.org"], false), "https://a.org", Some("https://a.org"), true),
            (cors(&["https://a.org"], false), "https://b.org", None, false),
            (cors(&["*"], false), "https://b.org", Some("*"), false),
            (cors(&["*", "https://a.org"], false), "https://a.org", Some("https://a.org"), true),
            (cors(&["*"], true), "http://localhost:3000", Some("http://localhost:3000"), true),
            (cors(&["*"], true), "http://[::1]:3000", Some("http://[::1]:3000"), true),
            (cors(&["*"], true), "http://localhost.evil.org", None, false),
            (cors(&["*"], true), "https://b.org", None, false),
        ] {
            assert_eq!(cors.allowed(origin).as_deref(), allowed, "{origin}");
            let lines = cors.preflight(origin);
            let found = lines.iter().any(|(name, _)| *name == "access-control-allow-credentials");
            assert_eq!((found, lines.is_empty()), (credentials, allowed.is_none()), "{origin}");
        }
    }

    #[test]
    fn headers_are_compared_without_case() {
        let asked = ["content-type".to_owned(), "x-other".to_owned()];
        assert_eq!(cors(&[], false).refused_headers(&asked), ["x-other"]);
    }
}
