//! The terminal console and command line of Gatehouse. It knows nothing that did not come over the socket.

mod canvas;
mod choices;
pub mod cli;
pub mod client;
pub mod clock;
mod commands;
pub mod environment;
mod event;
pub mod exit;
mod flow;
mod glyphs;
mod link;
pub mod output;
pub mod plain;
pub mod report;
mod screens;
pub mod text;
mod theme;
mod traffic;
pub mod verbs;
mod widgets;
mod world;
