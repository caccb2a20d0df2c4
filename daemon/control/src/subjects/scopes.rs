//! Scopes of personal access tokens. A token may do what its owner's role allows at the time of use and its scopes name:
//! `AREA:read`, `AREA:write` (which reads too), `admin` (all of it), `gateway` (calls of APIs).

use crate::state::{Fields as _, Row};
use actix_web::http::Method;
use gatehouse_common::problem::Problem;

/// All that the owner may do.
pub(crate) const ADMIN: &str = "admin";
/// Calls of APIs through the gateway.
pub(crate) const GATEWAY: &str = "gateway";

/// A part of the management surface.
struct Area {
    name: &'static str,
    permissions: &'static [&'static str],
    /// Words of paths behind `/platform`, `/api`, `/api/v1` or at the root.
    words: &'static [&'static str],
}

/// Every area. A path in none of them takes `admin`.
const AREAS: [Area; 8] = [
    Area {
        name: "apis",
        permissions: &["manage_apis", "manage_endpoints", "manage_routings"],
        words: &["api", "endpoint", "routing", "proto", "wsdl", "openapi", "graphql", "grpc"],
    },
    Area {
        name: "users",
        permissions: &["manage_users", "manage_groups", "manage_roles", "manage_subscriptions"],
        words: &["user", "users", "role", "group", "subscription"],
    },
    Area {
        name: "limits",
        permissions: &["manage_tiers", "manage_rate_limits", "manage_credits"],
        words: &["tiers", "rate-limits", "credit", "quota"],
    },
    Area { name: "keys", permissions: &[], words: &["api-keys", "vault"] },
    Area { name: "auth", permissions: &["manage_auth"], words: &["auth", "authorization"] },
    Area {
        name: "logs",
        permissions: &["view_logs", "export_logs", "view_analytics"],
        words: &["logging", "monitor", "analytics", "dashboard", "audit", "status", "health"],
    },
    Area {
        name: "config",
        permissions: &["manage_gateway", "manage_security"],
        words: &["config", "security", "memory", "tools", "caches"],
    },
    Area { name: "workspaces", permissions: &[], words: &["workspaces"] },
];

/// What a request needs of a token's scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    area: Option<&'static str>,
    write: bool,
}

impl Wanted {
    /// Of a request.
    pub(crate) fn by(method: &Method, path: &str) -> Self {
        let path = path.strip_prefix("/app").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let mut words = path.split('/').filter(|word| !word.is_empty());
        let word = match words.next() {
            Some("platform") => words.next(),
            Some("api") => match words.next() {
                Some("v1") => words.next(),
                other => other,
            },
            other => other,
        };
        let area = word.and_then(|word| AREAS.iter().find(|area| area.words.contains(&word)));
        Self { area: area.map(|area| area.name), write: writes(method) }
    }

    /// The scope that would do.
    pub(crate) fn name(self) -> String {
        let verb = if self.write { "write" } else { "read" };
        self.area.map_or_else(|| ADMIN.to_owned(), |area| format!("{area}:{verb}"))
    }
}

/// Whether a method changes something.
pub(crate) fn writes(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// What a token may be used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// Those of a token's row.
    pub(crate) fn of(row: &Row) -> Self {
        Self(row.list("scopes"))
    }

    /// Those that somebody asks for.
    ///
    /// # Errors
    /// 422, naming the word that is no scope.
    pub(crate) fn parse(words: Vec<String>) -> Result<Self, Problem> {
        let refused = |text: String| Problem::compat(422, crate::envelope::DETAIL, text).at("scopes");
        let known = |word: &str| {
            word == ADMIN
                || word == GATEWAY
                || word.split_once(':').is_some_and(|(name, verb)| {
                    ["read", "write"].contains(&verb) && AREAS.iter().any(|area| area.name == name)
                })
        };
        let areas = AREAS.map(|area| area.name).join(", ");
        let expected = format!("expected admin, gateway, or AREA:read, AREA:write with AREA of {areas}");
        if words.is_empty() {
            return Err(refused(format!("scopes: {expected}")));
        }
        if let Some(word) = words.iter().find(|word| !known(word)) {
            return Err(refused(format!("scopes: {word:?}: {expected}")));
        }
        let mut words = words;
        words.sort();
        words.dedup();
        Ok(Self(words))
    }

    fn has(&self, scope: &str) -> bool {
        self.0.iter().any(|own| own == scope)
    }

    /// Whether all that the owner may do is theirs.
    pub(crate) fn admin(&self) -> bool {
        self.has(ADMIN)
    }

    /// Whether they open APIs.
    pub(crate) fn gateway(&self) -> bool {
        self.has(GATEWAY)
    }

    /// Whether they open a path.
    pub(crate) fn open(&self, wanted: Wanted) -> bool {
        self.admin() || wanted.area.is_some_and(|area| self.reach(area, wanted.write))
    }

    /// Whether a permission of the owner's role counts through them, to look or to change.
    pub(crate) fn permit(&self, permission: &str, write: bool) -> bool {
        let area = AREAS.iter().find(|area| area.permissions.contains(&permission));
        self.admin() || area.is_some_and(|area| self.reach(area.name, write))
    }

    fn reach(&self, area: &str, write: bool) -> bool {
        self.has(&format!("{area}:write")) || (!write && self.has(&format!("{area}:read")))
    }

    /// As words.
    pub(crate) fn words(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subjects::roles::PERMISSIONS;
    use proptest::prelude::*;

    fn scopes(words: &[&str]) -> Scopes {
        Scopes::parse(words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    }

    #[test]
    fn each_permission_is_of_one_area() {
        for permission in PERMISSIONS {
            let areas = AREAS.iter().filter(|area| area.permissions.contains(&permission)).count();
            assert_eq!(areas, 1, "{permission}");
        }
    }

    #[test]
    fn a_path_opens_to_its_area_alone() {
        for (method, path, scope, open) in [
            ("GET", "/platform/api/all", "apis:read", true),
            ("HEAD", "/platform/api/all", "apis:read", true),
            ("GET", "/platform/api", "apis:write", true),
            ("POST", "/platform/api", "apis:read", false),
            ("POST", "/platform/api/", "apis:write", true),
            ("POST", "/platform/user", "apis:write", false),
            ("DELETE", "/api/caches", "config:write", true),
            ("GET", "/api/v1/api-keys", "keys:read", true),
            ("GET", "/app/api/v1/users", "users:read", true),
            ("GET", "/auth/tokens", "auth:read", true),
            ("GET", "/application/users", "users:read", false),
            ("GET", "/platform/elsewhere", "apis:read", false),
            ("GET", "/platform/elsewhere", "admin", true),
            ("GET", "/platform", "users:read", false),
            ("GET", "/platform/user/me", "gateway", false),
        ] {
            let wanted = Wanted::by(&method.parse().unwrap(), path);
            assert_eq!(scopes(&[scope]).open(wanted), open, "{method} {path} {scope}");
        }
    }

    #[test]
    fn words_that_are_no_scopes_are_named() {
        for bad in ["", "apis", "apis:", "apis:admin", "Admin", "other:read", "apis:read:write"] {
            let problem = Scopes::parse(vec!["admin".to_owned(), bad.to_owned()]).unwrap_err();
            assert!(problem.status == 422 && problem.detail.contains(&format!("{bad:?}")), "{problem}");
        }
        assert!(Scopes::parse(Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn reading_changes_nothing_and_never_panics(path in "/?(app|platform|api|v1|user|x|/|\\.|%2f){0,8}", permission in 0usize..16) {
            let (reader, writer) = (scopes(&["users:read"]), scopes(&["users:write"]));
            let permission = PERMISSIONS[permission];
            prop_assert!(!reader.open(Wanted::by(&Method::PUT, &path)));
            prop_assert!(!reader.permit(permission, true));
            prop_assert!(reader.permit(permission, false) == writer.permit(permission, true));
            let wanted = Wanted::by(&Method::GET, &path);
            prop_assert!(!reader.open(wanted) || writer.open(wanted));
        }
    }
}
