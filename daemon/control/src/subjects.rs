//! The rules of each subject; no HTTP.

pub(crate) mod addresses;
pub(crate) mod apis;
pub(crate) mod backups;
pub(crate) mod bootstrap;
pub(crate) mod configuration;
pub(crate) mod cors;
pub(crate) mod entities;
pub(crate) mod imports;
pub(crate) mod leaving;
pub(crate) mod passwords;
pub(crate) mod permits;
pub(crate) mod rate_rules;
pub(crate) mod restoring;
pub(crate) mod revocation;
pub(crate) mod roles;
pub(crate) mod sealing;
pub(crate) mod security;
pub(crate) mod sessions;
pub(crate) mod stored;
pub(crate) mod tiers;
pub(crate) mod times;
pub(crate) mod tokens;
pub(crate) mod turns;
pub(crate) mod usage;
pub(crate) mod validations;
