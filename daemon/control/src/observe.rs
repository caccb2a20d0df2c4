//! What may be seen of the house from outside: the page of `/metrics`, and who may read it.

pub(crate) mod access;
pub(crate) mod exposition;
pub(crate) mod families;
pub(crate) mod process;
pub(crate) mod report;

pub use access::{MetricsAccess, Networks};
