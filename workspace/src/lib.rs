//! The MCP server that runs inside a workspace: files and git below one folder, for whoever has the token. It knows
//! nothing of the daemon. A container around it is the boundary of the workspace; what is here keeps the tools
//! from being the way out of it, and from running programs that nobody named.

mod command;
mod files;
mod git;
mod http;
mod mcp;
mod root;
pub mod settings;
mod tools;

pub use http::start;
