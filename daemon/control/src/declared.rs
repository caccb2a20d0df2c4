//! Configuration as code: files that declare what is to be. What they declare is made so; what they declared before and
//! no longer do goes; what was made by hand stays.

pub(crate) mod apply;
mod document;
mod export;
pub(crate) mod folder;
mod making;
mod people;
mod references;
mod removing;
mod shapes;

pub(crate) use export::text as export;
pub(crate) use removing::{Owner, TABLE as MARKS};
pub(crate) use shapes::schema;

use gatehouse_common::ops::config::ConfigFault;

/// A fault at a place.
fn fault(place: &str, detail: impl Into<String>) -> ConfigFault {
    ConfigFault { place: place.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests;
