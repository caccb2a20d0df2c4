//! Settings of the gateway itself: where it listens, what the data plane is bounded by, who resolves names.

use super::checked::Reader;
use gatehouse_corridor::snapshot::GatewayLimits;
use gatehouse_corridor::snapshot::limits::{Breaker, Compression};
use gatehouse_data::{ClientLimits, Pace};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where a name server listens, if nothing else is said.
pub(crate) const DNS_PORT: u16 = 53;

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

    pub(super) fn dns_servers(&mut self) -> Vec<SocketAddr> {
        let text = self.text("dns_servers");
        let mut servers = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let alone = word.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
            match word.parse().or(alone) {
                Ok(server) => servers.push(server),
                Err(_) => {
                    self.problem("dns_servers", "expected ADDRESS or ADDRESS:PORT, with commas between")
                }
            }
        }
        servers
    }

    pub(super) fn listen(&mut self) -> SocketAddr {
        self.text("listen").parse().unwrap_or_else(|_| {
            self.problem("listen", "expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::]:8080");
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }
}
