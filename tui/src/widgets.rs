//! Pieces that screens are made of; each knows its state and how it is drawn, none knows the daemon.

pub(crate) mod ask;
pub(crate) mod chart;
pub(crate) mod confirm;
pub(crate) mod cursor;
pub(crate) mod filter;
pub(crate) mod help;
pub(crate) mod input;
pub(crate) mod palette;
pub(crate) mod plan;
pub(crate) mod steps;
pub(crate) mod table;
