//! Composition root: builds the rooms in the order in which they depend on each other and hands out the
//! ports. Knows no signal. What a process makes but once is the base (`base.rs`); a restart that fails assembles on it again.

use crate::base::{Base, private_folder};
use crate::history::HistoryFile;
use crate::journal;
use crate::records::Records;
use crate::records::files::Bounds;
use crate::settings::checked::Settings;
use crate::settings::secrets;
use crate::upstreams;
use anyhow::{Context as _, anyhow};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_control::{Argon2Config, Bootstrap, Control, ControlConfig, LoginLimit, PlatformCors};
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::ControlHandle;
use gatehouse_corridor::history::History;
use gatehouse_corridor::reload::{Asked, Reloader, door as reload_door};
use gatehouse_corridor::shutdown::{Refusal, Shutdown};
use gatehouse_corridor::snapshot::{self, TokenKey};
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_data::{DataPlane, Mount, Workers};
use gatehouse_engine::{Docker, Probe};
use gatehouse_ops::{Ops, OpsConfig, OpsPorts};
use gatehouse_store::Store;
use gatehouse_store::segments::AuditLog;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A running appliance.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) data: DataPlane,
    pub(crate) control: Control,
    pub(crate) workers: Workers,
    pub(crate) ops: Ops,
    pub(crate) tasks: TaskGroup,
    pub(crate) store: Store,
    pub(crate) records: Records,
    pub(crate) history: History,
    pub(crate) history_file: HistoryFile,
    /// The administrator's password, if this start made it.
    pub(crate) made_password: Option<Secret<String>>,
    pub(crate) reloader: Reloader,
    /// Who asks for settings to be read anew.
    pub(crate) reloads: Option<Asked>,
    /// Where it was left, if standard output is no terminal.
    pub(crate) password_file: Option<PathBuf>,
}

fn told(problem: Problem) -> anyhow::Error {
    let code = problem.code.clone();
    anyhow::Error::new(problem).context(code)
}

/// What else goes on while an appliance is assembled.
pub(crate) enum Beside {
    /// Nothing.
    Nothing,
    /// The old process, which hands over to this one.
    Predecessor,
    /// What is left of the appliance that this process served with; why it is assembled here again.
    Remains(Refusal),
}

impl Beside {
    /// Tells of a refused restart; whether anything else goes on.
    fn told(self, shutdown: &Shutdown) -> bool {
        let alone = matches!(self, Self::Nothing);
        if let Self::Remains(refusal) = self {
            shutdown.refuse(refusal);
        }
        !alone
    }
}

/// Builds and starts everything.
///
/// # Errors
/// Whatever keeps the appliance from serving, in words for the operator.
pub(crate) async fn assemble(settings: Settings, base: &Base, beside: Beside) -> anyhow::Result<House> {
    let Base { address, listener, log, clock, .. } = base;
    let shutdown = Shutdown::new(settings.drain);
    let beside = beside.told(&shutdown);
    let tasks = TaskGroup::new("house");
    let (reloader, reloads) = reload_door();
    let keys = keys(&settings)?;
    let store = Store::open(&store_folder(&settings.data_dir), &settings.store_backend)
        .with_context(|| format!("opening the store in {}", settings.data_dir.display()))?;
    let workers = workers(&settings);
    let telemetry = Telemetry::new(workers);
    let history = History::default();
    let history_file = HistoryFile::start(&settings.data_dir, history.clone(), clock.clone())?;
    let (publisher, subscriber) = snapshot::door();
    let data = DataPlane::new(subscriber, Arc::clone(&telemetry), clock.clone(), &upstreams::roots());
    data.resolve_by(upstreams::resolution(&settings));
    data.run(&tasks);
    let trail = AuditLog::open(&settings.data_dir.join("audit")).context("opening the audit trail")?;
    let ports = ControlPorts {
        clock: clock.clone(),
        shutdown: &shutdown,
        telemetry: &telemetry,
        history: &history,
        reloader: &reloader,
        audit_floor: trail.last_seq(),
    };
    let (config, made_password) = control_config(&settings, keys, &store, ports)?;
    // Before the account exists: a crash in between makes a new password, it never loses one.
    let password_file = leave_password(&settings.data_dir, made_password.as_ref())?;
    let control = Control::start(config, store.clone(), publisher).await.map_err(told)?;
    let (door, commands) = ControlHandle::door();
    control.serve(commands, &tasks);
    control.tend(&tasks);
    control.housekeeping(&tasks);
    let ports = OpsPorts {
        control: door,
        telemetry: Arc::clone(&telemetry),
        store: store.clone(),
        trail,
        export: settings.audit_journald.then(journal::audit).transpose()?,
        log: log.clone(),
        shutdown: shutdown.clone(),
        tasks: tasks.clone(),
    };
    let ops = Ops::start(ops_config(&settings, *address, clock.clone()), ports).map_err(told)?;
    let records = Records::start(record_files(&settings, beside), base.records(&telemetry, &history))?;
    let kept = listener.try_clone().context("keeping the listener")?;
    let workers = data.serve(kept, workers, settings.clients, mount(&control)).await.context("serving")?;
    ops.resume();
    Ok(House {
        settings,
        address: *address,
        shutdown,
        telemetry,
        data,
        control,
        workers,
        ops,
        tasks,
        store,
        records,
        history,
        history_file,
        made_password,
        reloader,
        reloads: Some(reloads),
        password_file,
    })
}

/// The management surface, as each worker mounts it.
fn mount(control: &Control) -> Mount {
    let own = control.clone();
    Arc::new(move |config: &mut actix_web::web::ServiceConfig| own.configure(config))
}

fn workers(settings: &Settings) -> usize {
    match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

fn record_files(settings: &Settings, beside: bool) -> Bounds {
    Bounds {
        folder: settings.log_dir.clone(),
        extension: if settings.access_json { "jsonl" } else { "log" },
        bytes: settings.access_file_bytes,
        files: settings.access_files,
        beside,
    }
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

/// The container engine, if the settings name one or leave it to the default.
fn engine(settings: &Settings) -> Option<Arc<Probe>> {
    let host = settings.docker_host.as_deref()?;
    let docker = if settings.is_default("docker_host") { Docker::usual(host) } else { Docker::at(host) };
    Some(Arc::new(Probe::new(Arc::new(docker))))
}

/// What control is given beside settings.
struct ControlPorts<'a> {
    clock: Clock,
    shutdown: &'a Shutdown,
    telemetry: &'a Arc<Telemetry>,
    history: &'a History,
    reloader: &'a Reloader,
    audit_floor: u64,
}

fn control_config(
    settings: &Settings,
    (signing_keys, encryption_key): Keys,
    store: &Store,
    ports: ControlPorts<'_>,
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
        cors: PlatformCors {
            origins: settings.allowed_origins.clone(),
            methods: settings.allow_methods.clone(),
            headers: settings.allow_headers.clone(),
            credentials: settings.allow_credentials,
            strict: settings.cors_strict,
        },
        localhost_bypass: settings.localhost_bypass,
        limits: settings.gateway.clone(),
        config_dir: settings.keeping.config_dir.clone(),
        environment: crate::settings::variable,
        history_limits: settings.keeping.history,
        versioned: settings.versioned.clone(),
        page_size_max: settings.page_size_max,
        audit_floor: ports.audit_floor,
        backups: settings.data_dir.join("backups"),
        settings_file: settings.file.clone(),
        effective: settings.effective.clone(),
        reloader: ports.reloader.clone(),
        data_dir: settings.data_dir.clone(),
        log_dir: settings.log_dir.clone(),
        shutdown: ports.shutdown.clone(),
        check: DataPlane::check,
        telemetry: Arc::clone(ports.telemetry),
        history: ports.history.clone(),
        metrics: settings.metrics.clone(),
        engine: engine(settings),
        clock: ports.clock,
    };
    Ok((config, made))
}

/// What control is to work with after the settings were read anew.
pub(crate) fn reloaded(house: &House, new: &Settings) -> anyhow::Result<ControlConfig> {
    let ports = ControlPorts {
        clock: Clock::System,
        shutdown: &house.shutdown,
        telemetry: &house.telemetry,
        history: &house.history,
        reloader: &house.reloader,
        // Numbers are given by the change thread, which was told at the start.
        audit_floor: 0,
    };
    Ok(control_config(new, keys(new)?, &house.store, ports)?.0)
}

/// Where the store lies.
pub(crate) fn store_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}
