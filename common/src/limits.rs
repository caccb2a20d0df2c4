//! Every bound in the system that is not a setting: name, unit in the name, reason.

/// Largest body of a management request; spec/doorman.md 5.2 `MAX_BODY_SIZE_BYTES`.
pub const MANAGE_BODY_BYTES: usize = 1_048_576;
/// Largest body of an ops request: plans and runs are small.
pub const OPS_BODY_BYTES: usize = 262_144;
/// Largest body of files that declare configuration, bytes.
pub const CONFIG_BODY_BYTES: usize = 33_554_432;
/// Largest body of an ops request that imports another manager's rows.
pub const IMPORT_BODY_BYTES: usize = 67_108_864;
/// Lines the log ring keeps; about 15 minutes at 20 lines a second.
pub const LOG_RING_LINES: usize = 20_000;
/// Longest log message kept, in bytes; longer ones are cut and marked.
pub const LOG_MESSAGE_BYTES: usize = 4_096;
/// Items queued for one streaming client before frames are dropped and counted.
pub const STREAM_QUEUE_ITEMS: usize = 1_024;
/// Access records one worker may hold before the writer drains them; then drop and count.
pub const ACCESS_RING_RECORDS: usize = 8_192;
/// Seconds of one-second windows kept for charts.
pub const WINDOWS_KEPT: usize = 600;
/// How long a plan may be started, in seconds.
pub const PLAN_VALID_SECS: i64 = 300;
/// Plans held at once; the oldest goes first.
pub const PLANS_HELD: usize = 256;
/// Largest page of a list; clients ask for 1000 (spec/doorman.md 1.5).
pub const PAGE_SIZE_MAX: usize = 1_000;
/// Longest reason kept in an audit record, in bytes.
pub const REASON_BYTES: usize = 1_024;
/// Drafts of changes that may wait for the single change thread; then callers wait.
pub const CHANGE_QUEUE_DRAFTS: usize = 1_024;
/// Longest time an answer waits for the data plane to acknowledge a revision, in milliseconds.
pub const ACKNOWLEDGE_WAIT_MILLIS: u64 = 1_000;
/// Longest head of a request, bytes; nginx's default is 32 kB, HAProxy's 16 kB.
pub const HEAD_BYTES: usize = 65_536;
/// Most fields of a head.
pub const HEAD_FIELDS: usize = 100;
/// Longest request target, bytes.
pub const TARGET_BYTES: usize = 16_384;
/// Routes with counters of their own; the rest share one set. About 250 bytes for a quiet one, 1.2 KB for a busy one.
pub const ROUTE_STATS_MAX: usize = 16_384;

/// Upstream servers whose probes are told of; those beyond are probed all the same.
pub const PROBED_SERVERS_MAX: usize = 4_096;
