//! Who asks, and from where.

use std::fmt;

/// Someone who asks for something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A peer of an ops socket, by kernel credentials.
    Peer {
        /// User id.
        uid: u32,
        /// Login name of that id, where the system has one.
        name: Option<String>,
        /// Process id, where the kernel gives one.
        pid: Option<i32>,
        /// True for `operate.sock`.
        operate: bool,
    },
    /// A user of the management surface.
    User {
        /// User name.
        name: String,
        /// Client address.
        source: String,
    },
    /// The folder that declares the configuration.
    Folder,
    /// The daemon itself: start-up, reconcilers, resumed runs.
    System,
}

impl Actor {
    /// From where, for the audit record.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::Peer { operate: true, .. } => "operate.sock".to_owned(),
            Self::Peer { .. } => "view.sock".to_owned(),
            Self::User { source, .. } => source.clone(),
            Self::Folder => "config_dir".to_owned(),
            Self::System => "daemon".to_owned(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { uid, name: Some(name), pid: Some(pid), .. } => {
                write!(f, "{name} (uid {uid}, pid {pid})")
            }
            Self::Peer { uid, name: Some(name), .. } => write!(f, "{name} (uid {uid})"),
            Self::Peer { uid, pid: Some(pid), .. } => write!(f, "uid {uid} (pid {pid})"),
            Self::Peer { uid, .. } => write!(f, "uid {uid}"),
            Self::User { name, .. } => f.write_str(name),
            Self::Folder => f.write_str("config"),
            Self::System => f.write_str("gatehoused"),
        }
    }
}
