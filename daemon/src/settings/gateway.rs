//! Settings of the gateway itself: what the data plane is bounded by.

use super::reader::Reader;
use gatehouse_corridor::snapshot::GatewayLimits;
use gatehouse_corridor::snapshot::limits::{Breaker, Compression};
use gatehouse_data::{ClientLimits, Pace};
use std::time::Duration;

impl Reader<'_> {
    pub(super) fn gateway(&mut self) -> GatewayLimits {
        GatewayLimits {
            body_bytes: self.number("body_bytes_max", 1, 1 << 40),
            connect_timeout_ms: self.number("connect_timeout_millis", 1, 600_000),
            read_timeout_ms: self.number("read_timeout_millis", 1, 86_400_000),
            idle_connections: self.number("upstream_idle_connections", 0, 100_000),
            upstream_connections: self.number("upstream_connections_max", 1, 1_000_000),
            idle_timeout_ms: self.number("upstream_idle_millis", 1, 86_400_000),
            in_flight: self.number("in_flight_max", 1, 10_000_000),
            strict_envelope: self.flag("strict_envelope"),
            strict_options: self.flag("strict_options"),
            skip_tiers: self.flag("skip_tiers"),
            breaker: Breaker {
                enabled: self.flag("breaker"),
                failures: self.number("breaker_failures", 1, 1_000_000),
                open_ms: self.number("breaker_open_millis", 1, 86_400_000),
            },
            retry_delay_ms: (
                self.number("retry_base_millis", 0, 600_000),
                self.number("retry_most_millis", 0, 600_000),
            ),
            compression: Compression {
                enabled: self.flag("compression"),
                level: self.number("compression_level", 1, 9),
                least_bytes: self.number("compression_least_bytes", 0, 1 << 40),
            },
            cache_bytes: self.number("cache_bytes", 0, 1 << 40),
            trace: self.flag("trace"),
            websockets: self.flag("websockets"),
        }
    }

    pub(super) fn clients(&mut self) -> ClientLimits {
        ClientLimits {
            idle: Duration::from_secs(self.number("client_idle_secs", 1, 86_400)),
            head: Duration::from_secs(self.number("client_head_secs", 1, 3_600)),
            pace: Pace {
                period: Duration::from_secs(self.number("client_stall_secs", 1, 3_600)),
                bytes: self.number("client_least_bytes", 1, 1 << 30),
            },
            per_address: self.number("client_connections_max", 1, 10_000_000),
            proxy_protocol: self.flag("proxy_protocol"),
        }
    }
}
