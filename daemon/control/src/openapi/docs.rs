//! THE LIST of documented operations, by section: a line for each that `resource!` mounts.

mod auth;
mod discovery;
mod gateway;
mod identity;
mod limits;
mod service;
mod traffic;
mod versioned;

use super::operation::{Parameter, Section, Taken};

/// In the order of the page.
pub(crate) const SECTIONS: &[Section] = &[
    identity::AUTHORIZATION,
    identity::USERS,
    identity::ROLES,
    identity::GROUPS,
    identity::SUBSCRIPTIONS,
    auth::TOKENS,
    auth::FACTOR,
    auth::LINKS,
    auth::PROVIDER,
    gateway::APIS,
    gateway::ENDPOINTS,
    discovery::DISCOVERY,
    discovery::PROTOS,
    gateway::ROUTINGS,
    gateway::CREDITS,
    gateway::VAULT,
    limits::TIERS,
    limits::RATE_LIMITS,
    limits::QUOTA,
    traffic::LOGGING,
    traffic::ANALYTICS,
    traffic::MONITOR,
    traffic::METRICS,
    service::HEALTH,
    service::VERSIONED_HEALTH,
    versioned::HEALTH,
    service::SECURITY,
    service::CONFIGURATION,
    discovery::REVISIONS,
    discovery::DEMO,
    service::TOOLS,
    service::CONTRACT,
    service::PLATFORM_CONTRACT,
    versioned::USERS,
    versioned::KEYS,
    versioned::AUTH,
    versioned::LOGIN_FORM,
    versioned::LOGOUT,
    versioned::INTERNAL,
    versioned::ADMINISTRATION,
];

const PAGE: Parameter = ("page", Taken::Between(1, i64::MAX), "Page, from 1");
const PAGE_SIZE: Parameter =
    ("page_size", Taken::Between(1, 1_000), "Items of a page, `page_size_max` at most");
const PAGING: &[Parameter] = &[PAGE, PAGE_SIZE];
const SKIP: Parameter = ("skip", Taken::Between(0, i64::MAX), "Items passed over");
const LIMIT: Parameter = ("limit", Taken::Between(1, 1_000), "Items answered, 100 if not given");
