//! The rules of each subject; no HTTP.

pub(crate) mod addresses;
pub(crate) mod apis;
pub(crate) mod backups;
pub(crate) mod bootstrap;
pub(crate) mod engine;
pub(crate) mod entities;
pub(crate) mod passwords;
pub(crate) mod restoring;
pub(crate) mod revocation;
pub(crate) mod roles;
pub(crate) mod sealing;
pub(crate) mod sessions;
pub(crate) mod stored;
pub(crate) mod tokens;
