//! What a runbook and a health check may look at and ask of.

use crate::attached::Attached;
use crate::runs::RunTable;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::ControlHandle;
use gatehouse_corridor::shutdown::Shutdown;
use gatehouse_store::Store;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The world as ops sees it.
pub(crate) struct World {
    pub(crate) control: ControlHandle,
    pub(crate) clock: Clock,
    pub(crate) host: String,
    pub(crate) gateway: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: Store,
    pub(crate) attached: Attached,
    pub(crate) runs: RunTable,
    pub(crate) shutdown: Shutdown,
}

impl World {
    /// Free and whole bytes of the data folder's disk.
    pub(crate) fn disk(&self) -> Result<(u64, u64), Problem> {
        let stat = rustix::fs::statvfs(&self.data_dir)
            .map_err(|error| Problem::new(Code::Internal, format!("{}: {error}", self.data_dir.display())))?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    /// An address at which the gateway can be asked from this machine.
    pub(crate) fn gateway(&self) -> SocketAddr {
        let ip = match self.gateway.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        SocketAddr::new(ip, self.gateway.port())
    }
}
