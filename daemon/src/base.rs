//! What a process makes but once, whichever appliances are assembled on it: folders, log, listener.

use crate::logging::{self, LogFilter};
use crate::records::RecordsPorts;
use crate::settings::checked::Settings;
use anyhow::{Context as _, anyhow};
use gatehouse_common::redact::Redactor;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::history::History;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_ops::LogRing;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::DirBuilder;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

/// What outlives an appliance that is assembled anew in the same process.
pub(crate) struct Base {
    pub(crate) address: SocketAddr,
    /// Served by a second handle; kept for a restart.
    pub(crate) listener: TcpListener,
    pub(crate) log_filter: LogFilter,
    pub(crate) log: LogRing,
    redactor: Redactor,
    pub(crate) clock: Clock,
}

impl Base {
    /// What the writer of records is given.
    pub(crate) fn records(&self, telemetry: &Arc<Telemetry>, history: &History) -> RecordsPorts {
        RecordsPorts {
            telemetry: Arc::clone(telemetry),
            history: history.clone(),
            log: self.log.clone(),
            redactor: self.redactor.clone(),
            clock: self.clock.clone(),
        }
    }
}

/// Makes folders, log and listener; once in a process.
///
/// # Errors
/// Whatever keeps the appliance from serving, in words for the operator.
pub(crate) fn base(settings: &Settings, inherited: Option<TcpListener>) -> anyhow::Result<Base> {
    for folder in [&settings.data_dir, &settings.log_dir] {
        private_folder(folder)?;
    }
    let clock = Clock::System;
    let names = settings.redact_fields.iter().map(String::as_str);
    let redactor = Redactor::new(names).map_err(|why| anyhow!("redact_fields: {why}"))?;
    let (log_filter, log) = logging::start(settings, LogRing::new(clock.clone(), redactor.clone()))?;
    raise_open_files();
    let (listener, address) = listen(settings, inherited)?;
    Ok(Base { address, listener, log_filter, log, redactor, clock })
}

/// Each connection is an open file, and the soft limit of most systems, 1024, is for programs that use select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current, limit.maximum);
    let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }) else {
        return tracing::info!(target: "run", before = ?soft, now = ?hard, "limit of open files");
    };
    tracing::warn!(target: "run", %error, limit = ?soft, "the limit of open files was not raised");
}

/// What lies in it (hashes, keys, records of traffic) is nobody else's to read.
pub(crate) fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("making {}", folder.display()))
}

/// Takes the listener that systemd or our own predecessor left, else binds.
fn listen(settings: &Settings, inherited: Option<TcpListener>) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let wanted = settings.listen;
    let Some(listener) = inherited else {
        let listener =
            TcpListener::bind(wanted).with_context(|| format!("listen = {wanted}: cannot bind"))?;
        let address = listener.local_addr()?;
        return Ok((listener, address));
    };
    let address = listener.local_addr()?;
    // A port of 0 asks for any.
    if address != wanted && wanted.port() != 0 && !settings.is_default("listen") {
        tracing::warn!(
            target: "run", %wanted, %address,
            "listen is not used: the listener is inherited; change gatehoused.socket, or where there is none stop and start",
        );
    }
    Ok((listener, address))
}
