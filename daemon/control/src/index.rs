//! THE LIST of secondary indexes: what rows are found by beside their key, so that no change looks through a whole table.

use crate::leases::ACCOUNTS;
use crate::state::{Fields as _, Row};
use crate::subjects::{credits, tiers};

/// What rows are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// Accounts, by the second in which a credit group of theirs is due to be filled again.
    AccountReset,
    /// APIs, by their host name.
    ApiHost,
    /// APIs, by where their issuer's keys are.
    ApiJwks,
    /// Assignments, by each tier they lie upon one another with.
    AssignedTier,
    /// Endpoints, by `name/version` of their API.
    EndpointApi,
    /// Endpoints, by their id.
    EndpointId,
    /// API keys, by what an outer platform calls them.
    KeyNexusgate,
    /// API keys, by their number.
    KeyNumber,
    /// API keys, by the first part of their text.
    KeyPrefix,
    /// API keys, by their user.
    KeyUser,
    /// Rows of `revoked`, by the second after which they no longer matter.
    RevokedEnd,
    /// Sessions, by the second of their end.
    SessionEnd,
    /// Sessions, by their user.
    SessionUser,
    /// Users with subscriptions, by `name/version`.
    Subscriber,
    /// Users, by e-mail address in lower case.
    UserEmail,
    /// Users, by what an outer platform calls them.
    UserNexusgate,
    /// Users, by their number.
    UserNumber,
    /// Users, by role.
    UserRole,
    /// Workspaces, by their user.
    WorkspaceUser,
}

/// Index, value, key of the row.
pub(crate) type Entry = (By, Box<str>, Box<str>);

/// A second, so that seconds sort as text.
pub(crate) fn second(unix_secs: i64) -> String {
    format!("{:020}", unix_secs.max(0))
}

/// Host names that count as one.
pub(crate) fn host(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// E-mail addresses that count as one.
pub(crate) fn mail(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// `name/version` of the API an endpoint belongs to.
pub(crate) fn owner(endpoint: &Row) -> String {
    format!("{}/{}", endpoint.text("api_name"), endpoint.text("api_version"))
}

/// All places of a row in the indexes.
pub(crate) fn entries(table: &str, key: &str, row: &Row) -> Vec<Entry> {
    let at = |by: By, value: &str| (by, value.into(), key.into());
    match table {
        "apis" => {
            let host = Some(host(row.text("api_hostname"))).filter(|host| !host.is_empty());
            let issuer = row.get("api_issuer").and_then(|issuer| issuer.get("jwks_url")?.as_str());
            let host = host.map(|host| at(By::ApiHost, &host));
            host.into_iter().chain(issuer.map(|url| at(By::ApiJwks, url))).collect()
        }
        ACCOUNTS => credits::resets(row).map(|secs| at(By::AccountReset, &second(secs))).collect(),
        "assignments" => tiers::mentioned(row).map(|tier| at(By::AssignedTier, tier)).collect(),
        "endpoints" => {
            vec![at(By::EndpointApi, &owner(row)), at(By::EndpointId, row.text("endpoint_id"))]
        }
        "keys" => {
            let outer = Some(row.text("nexusgate_token_id")).filter(|id| !id.is_empty());
            let mut entries = vec![
                at(By::KeyNumber, &second(row.number("id"))),
                at(By::KeyPrefix, row.text("prefix")),
                at(By::KeyUser, row.text("username")),
            ];
            entries.extend(outer.map(|id| at(By::KeyNexusgate, id)));
            entries
        }
        "revoked" => vec![at(By::RevokedEnd, &second(row.number("expires_unix_secs")))],
        "sessions" => vec![
            at(By::SessionEnd, &second(row.number("expires_unix_secs"))),
            at(By::SessionUser, row.text("username")),
        ],
        "subscriptions" => row.list("apis").iter().map(|api| at(By::Subscriber, api)).collect(),
        "users" => {
            // Users that came from elsewhere may have no address.
            let email = Some(mail(row.text("email"))).filter(|email| !email.is_empty());
            let nexusgate = Some(row.text("nexusgate_user_id")).filter(|id| !id.is_empty());
            let mut entries =
                vec![at(By::UserNumber, &second(row.number("id"))), at(By::UserRole, row.text("role"))];
            entries.extend(email.map(|email| at(By::UserEmail, &email)));
            entries.extend(nexusgate.map(|id| at(By::UserNexusgate, id)));
            entries
        }
        "workspaces" => vec![at(By::WorkspaceUser, row.text("username"))],
        _ => Vec::new(),
    }
}
