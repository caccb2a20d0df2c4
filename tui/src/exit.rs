//! Exit codes of the command line; scripts rely on them.

/// All went as asked.
pub const DONE: u8 = 0;
/// It was tried and failed.
pub const FAILED: u8 = 1;
/// What was compared differs.
pub const DIFFERS: u8 = 2;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The daemon does not answer.
pub const UNREACHABLE: u8 = 69;
/// The plan named is not the plan of now.
pub const OUTDATED: u8 = 75;
/// This socket or user may not.
pub const NOT_PERMITTED: u8 = 77;
