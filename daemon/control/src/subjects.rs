//! The rules of each subject; no HTTP, no store.

pub(crate) mod bootstrap;
pub(crate) mod passwords;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod tokens;
