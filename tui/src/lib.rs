//! The terminal console and command line of Gatehouse. It knows nothing that did not come over the socket.

mod app;
mod canvas;
mod choices;
pub mod cli;
pub mod client;
mod clipboard;
pub mod clock;
mod commands;
pub mod console;
#[cfg(test)]
mod decisions;
mod draw;
mod effects;
pub mod environment;
mod event;
pub mod exit;
mod flow;
mod glyphs;
mod importing;
mod link;
pub mod output;
pub mod plain;
pub mod report;
#[cfg(test)]
mod samples;
mod screens;
#[cfg(test)]
mod snapshots;
mod terminal;
pub mod text;
mod theme;
mod traffic;
pub mod verbs;
mod widgets;
mod world;
