//! Composition root: builds the rooms in the order in which they depend on each other and hands out the
//! ports. Binds now, serves later; knows no signal.

use crate::records::Records;
use crate::settings::checked::Settings;
use crate::settings::secrets;
use anyhow::{Context as _, anyhow};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_control::{Argon2Config, Bootstrap, Control, ControlConfig, LoginLimit};
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::ControlHandle;
use gatehouse_corridor::shutdown::Shutdown;
use gatehouse_corridor::snapshot::{self, GatewayLimits, TokenKey};
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_data::{ClientLimits, DataPlane, Pace, Workers};
use gatehouse_engine::{Docker, Probe};
use gatehouse_ops::{LogRing, Ops, OpsConfig, OpsPorts};
use gatehouse_store::Store;
use gatehouse_store::segments::AuditLog;
use std::fs::DirBuilder;
use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// A running appliance.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) address: SocketAddr,
    /// A second handle of the listener, kept for a restart in place.
    pub(crate) listener: TcpListener,
    pub(crate) shutdown: Shutdown,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) data: DataPlane,
    pub(crate) control: Control,
    pub(crate) workers: Workers,
    pub(crate) ops: Ops,
    pub(crate) tasks: TaskGroup,
    pub(crate) store: Store,
    pub(crate) records: Records,
    pub(crate) log_filter: LogFilter,
    /// The administrator's password, if this start made it.
    pub(crate) made_password: Option<Secret<String>>,
    /// Where it was left, if standard output is no terminal.
    pub(crate) password_file: Option<PathBuf>,
}

/// The live log level.
pub(crate) struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Changes the level.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// Our own lines at the level asked for; the server's below a warning tell an operator nothing.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(format!("{level},actix_server=warn"))?)
}

fn told(problem: Problem) -> anyhow::Error {
    let code = problem.code.clone();
    anyhow::Error::new(problem).context(code)
}

/// Builds and starts everything.
///
/// # Errors
/// Whatever keeps the appliance from serving, in words for the operator.
pub(crate) async fn assemble(settings: Settings) -> anyhow::Result<House> {
    for folder in [&settings.data_dir, &settings.log_dir] {
        private_folder(folder)?;
    }
    let clock = Clock::System;
    let log = LogRing::new(clock.clone());
    let log_filter = logging(&settings, &log)?;
    let shutdown = Shutdown::new(settings.drain);
    let tasks = TaskGroup::new("house");
    let (listener, address) = listen(settings.listen)?;
    let keys = keys(&settings)?;
    let store = Store::open(&store_folder(&settings.data_dir), &settings.store_backend)
        .with_context(|| format!("opening the store in {}", settings.data_dir.display()))?;
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let telemetry = Telemetry::new(workers);
    let (publisher, subscriber) = snapshot::door();
    let data = DataPlane::new(subscriber, Arc::clone(&telemetry), clock.clone());
    data.run(&tasks);
    let trail = AuditLog::open(&settings.data_dir.join("audit")).context("opening the audit trail")?;
    let (mut config, made_password) =
        control_config(&settings, keys, &store, (clock.clone(), &shutdown, &telemetry))?;
    config.audit_floor = trail.last_seq();
    // Before the account exists: a crash in between makes a new password, it never loses one.
    let password_file = leave_password(&settings.data_dir, made_password.as_ref())?;
    let control = Control::start(config, store.clone(), publisher).await.map_err(told)?;
    let (door, commands) = ControlHandle::door();
    control.serve(commands, &tasks);
    let ports = OpsPorts {
        control: door,
        telemetry: Arc::clone(&telemetry),
        store: store.clone(),
        trail,
        log: log.clone(),
        shutdown: shutdown.clone(),
        tasks: tasks.clone(),
    };
    let ops = Ops::start(ops_config(&settings, address, clock), ports).map_err(told)?;
    let records = Records::start(&settings.log_dir, Arc::clone(&telemetry), log)?;
    let kept = listener.try_clone().context("keeping the listener")?;
    let own = control.clone();
    let mount = Arc::new(move |config: &mut actix_web::web::ServiceConfig| own.configure(config));
    let workers = data.serve(kept, workers, client_limits(&settings), mount).await.context("serving")?;
    ops.resume();
    Ok(House {
        settings,
        address,
        listener,
        shutdown,
        telemetry,
        data,
        control,
        workers,
        ops,
        tasks,
        store,
        records,
        log_filter,
        made_password,
        password_file,
    })
}

fn ops_config(settings: &Settings, gateway: SocketAddr, clock: Clock) -> OpsConfig {
    let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    OpsConfig {
        runtime_dir: settings.runtime_dir.clone(),
        data_dir: settings.data_dir.clone(),
        host: settings.host_name.clone().unwrap_or_else(system),
        operators_group: settings.operators_group.clone(),
        viewers_group: settings.viewers_group.clone(),
        gateway,
        clock,
    }
}

/// What a daemon without a terminal prints ends in a journal that many may read; the password goes to a
/// file that only the daemon's user and root may.
fn leave_password(data_dir: &Path, made: Option<&Secret<String>>) -> anyhow::Result<Option<PathBuf>> {
    let Some(password) = made.filter(|_| !std::io::stdout().is_terminal()) else { return Ok(None) };
    let path = data_dir.join("admin-password");
    secrets::write(&path, &format!("{}\n", password.expose())).map_err(|error| anyhow!(error))?;
    Ok(Some(path))
}

fn logging(settings: &Settings, log: &LogRing) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(filter(&settings.log_level)?);
    let plain = (!settings.log_json).then(|| fmt::layer().with_writer(std::io::stderr).with_ansi(false));
    let json = settings.log_json.then(|| fmt::layer().json().with_writer(std::io::stderr));
    tracing_subscriber::registry().with(filter).with(log.clone()).with(plain).with(json).try_init()?;
    Ok(LogFilter(handle))
}

/// What lies in it (hashes, keys, records of traffic) is nobody else's to read.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("making {}", folder.display()))
}

/// Takes the listener that systemd or our own predecessor left, else binds.
fn listen(wanted: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let inherited = listenfd::ListenFd::from_env().take_tcp_listener(0).unwrap_or_default();
    let listener = match inherited {
        Some(listener) => listener,
        None => TcpListener::bind(wanted).with_context(|| format!("listen = {wanted}: cannot bind"))?,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Keys that sign and verify tokens, and the one that values at rest are encrypted with.
type Keys = (Vec<TokenKey>, Secret<String>);

fn keys(settings: &Settings) -> anyhow::Result<Keys> {
    let folder = settings.data_dir.join("keys");
    private_folder(&folder)?;
    let kept = |given: &Option<Secret<String>>, file: &str| match given {
        Some(key) => Ok(key.clone()),
        None => secrets::kept(&folder.join(file)).map(Secret::new).map_err(|error| anyhow!(error)),
    };
    let signing = kept(&settings.signing_key, "signing.key")?;
    // Made at once, so that the first value encrypted at rest finds it.
    let encryption = kept(&settings.encryption_key, "encryption.key")?;
    if signing.expose() == encryption.expose() {
        return Err(anyhow!("keys/signing.key equals keys/encryption.key; expected two different keys"));
    }
    if !settings.signing_keys.is_empty() {
        let listed = settings.signing_keys.iter().map(|key| TokenKey {
            kid: key.kid.clone(),
            secret: Secret::new(key.secret.expose().clone().into_bytes()),
        });
        return Ok((listed.collect(), encryption));
    }
    let previous = settings.signing_key_previous.clone();
    Ok((std::iter::once(signing).chain(previous).map(token_key).collect(), encryption))
}

/// The `kid` is derived from the key, so that two keys can never share one.
fn token_key(key: Secret<String>) -> TokenKey {
    let kid = gatehouse_control::key_id(key.expose().as_bytes());
    TokenKey { kid, secret: Secret::new(key.expose().clone().into_bytes()) }
}

fn control_config(
    settings: &Settings,
    (signing_keys, encryption_key): Keys,
    store: &Store,
    (clock, shutdown, telemetry): (Clock, &Shutdown, &Arc<Telemetry>),
) -> anyhow::Result<(ControlConfig, Option<Secret<String>>)> {
    let empty = store.scan("users")?.is_empty();
    let made = (empty && settings.admin_password.is_none()).then(|| Secret::new(secrets::random_text(24)));
    let password = settings.admin_password.clone().or_else(|| made.clone());
    let (memory_kib, iterations, lanes) = settings.argon2;
    let (per_window, window_secs, disabled) = settings.login_limit;
    let config = ControlConfig {
        bootstrap: password.map(|password| Bootstrap {
            username: settings.admin_username.clone(),
            email: settings.admin_email.clone(),
            password,
        }),
        signing_keys,
        encryption_key,
        access_ttl_secs: settings.access_token_secs,
        refresh_ttl_secs: settings.refresh_token_secs,
        argon2: Argon2Config { memory_kib, iterations, lanes },
        hash_threads: settings.hash_threads,
        login_limit: LoginLimit { per_window, window_secs, disabled },
        registration: settings.registration,
        register_limit: LoginLimit {
            per_window: settings.register_limit.0,
            window_secs: settings.register_limit.1,
            disabled: false,
        },
        strict_envelope: settings.strict_envelope,
        enforce_admin_subscription: settings.enforce_admin_subscription,
        cookie_secure: settings.cookie_secure,
        cookie_samesite: settings.cookie_samesite.clone(),
        cookie_domain: settings.cookie_domain.clone(),
        limits: limits(settings),
        page_size_max: settings.page_size_max,
        audit_floor: 0,
        backups: settings.data_dir.join("backups"),
        settings_file: settings.file.clone(),
        shutdown: shutdown.clone(),
        check: DataPlane::check,
        telemetry: Arc::clone(telemetry),
        engine: settings.docker_host.as_deref().map(|host| Arc::new(Probe::new(Arc::new(Docker::at(host))))),
        clock,
    };
    Ok((config, made))
}

/// What control is to work with after the settings were read anew.
pub(crate) fn reloaded(house: &House, new: &Settings) -> anyhow::Result<ControlConfig> {
    let ports = (Clock::System, &house.shutdown, &house.telemetry);
    control_config(new, keys(new)?, &house.store, ports).map(|(config, _)| config)
}

fn limits(settings: &Settings) -> GatewayLimits {
    GatewayLimits {
        body_bytes: settings.body_bytes_max,
        connect_timeout_ms: settings.connect_timeout_millis,
        read_timeout_ms: settings.read_timeout_millis,
        idle_connections: settings.upstream_idle_connections,
        idle_timeout_ms: settings.upstream_idle_millis,
        in_flight: settings.in_flight_max,
        strict_envelope: settings.strict_envelope,
        ..GatewayLimits::default()
    }
}

fn client_limits(settings: &Settings) -> ClientLimits {
    ClientLimits {
        idle: settings.client_idle,
        head: settings.client_head,
        pace: Pace { period: settings.client_stall, bytes: settings.client_least_bytes },
    }
}

/// Where the store lies.
pub(crate) fn store_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}
