//! The tables: name and version of their values. Values are JSON.

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Name in the store and in archives.
    pub name: &'static str,
    /// Version of its values; a migration raises it.
    pub version: u32,
    /// Whether an archive holds it: what is derived or still to be drained is left out.
    pub archived: bool,
}

const fn table(name: &'static str, archived: bool) -> Table {
    Table { name, version: 1, archived }
}

/// Every table.
pub const TABLES: &[Table] = &[
    table("apis", true),
    table("assignments", true),
    table("credits", true),
    table("declared", true),
    table("endpoints", true),
    table("groups", true),
    table("key_uses", false),
    table("keys", true),
    table("meta", false),
    table("outbox", false),
    table("rate_rules", true),
    table("revision_rows", false),
    table("revisions", false),
    table("revoked", true),
    table("roles", true),
    table("routings", true),
    table("sessions", true),
    table("settings", true),
    table("subscriptions", true),
    table("tiers", true),
    table("usage", false),
    table("user_credits", true),
    table("users", true),
    table("validations", true),
    table("vault", true),
    table("workspaces", true),
];

/// Key in `meta` of the store's format.
pub const FORMAT_KEY: &str = "format";
/// Key in `meta` of the published revision.
pub const REVISION_KEY: &str = "revision";
/// Table of the audit records that are on their way to the trail.
pub const OUTBOX: &str = "outbox";
/// Key in `meta` of the last audit number given.
pub const AUDIT_KEY: &str = "audit";

/// A key of the outbox: numbers sort as text.
#[must_use]
pub fn outbox_key(seq: u64) -> String {
    format!("{seq:020}")
}
