//! The corridor: four doors between the rooms (snapshot, telemetry, command, credits) and the small ports
//! every room needs. It decides nothing.

pub mod actor;
pub mod clock;
pub mod command;
pub mod credits;
pub mod history;
pub mod meter;
pub mod permission;
pub mod reload;
pub mod shutdown;
pub mod snapshot;
pub mod tasks;
pub mod telemetry;
pub mod text;
