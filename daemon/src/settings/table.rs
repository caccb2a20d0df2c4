//! The one table of settings: name, older names, default, help. `docs/config.md` is generated from it.

/// How an older name's value becomes ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Convert {
    /// As it is.
    Same,
    /// Seconds (may have a fraction) to milliseconds.
    SecondsToMillis,
    /// Minutes to seconds.
    MinutesToSeconds,
    /// A count whose unit stands in `NAME_FREQ` (spec/doorman.md 2.4), to seconds.
    CountWithFrequency,
    /// `HOST` or `PORT`: one half of an address.
    AddressPart,
}

/// An older name that is accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alias {
    pub(crate) name: &'static str,
    pub(crate) convert: Convert,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Key in the file; the variable is `GATEHOUSE_` and the name in upper case.
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) secret: bool,
    /// Read at a start only: a reload keeps the value of the start.
    pub(crate) start: bool,
    pub(crate) help: &'static str,
    pub(crate) aliases: &'static [Alias],
}

impl Setting {
    /// The native variable.
    pub(crate) fn variable(&self) -> String {
        format!("GATEHOUSE_{}", self.name.to_uppercase())
    }
}

const fn same(name: &'static str) -> Alias {
    Alias { name, convert: Convert::Same }
}

const fn with(name: &'static str, convert: Convert) -> Alias {
    Alias { name, convert }
}

macro_rules! settings {
    ($($name:ident $default:literal $([$($alias:expr),* $(,)?])? $($mark:ident)* => $help:literal;)*) => {
        /// Every setting, in the order of the documentation.
        pub(crate) const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            default: $default,
            secret: false $(|| settings!(@secret $mark))*,
            start: false $(|| settings!(@start $mark))*,
            help: $help,
            aliases: &[$($($alias),*)?],
        }),*];
    };
    (@secret secret) => { true };
    (@secret start) => { false };
    (@start start) => { true };
    (@start secret) => { false };
}

settings! {
    listen "127.0.0.1:8080" [with("HOST", Convert::AddressPart), with("PORT", Convert::AddressPart)] start
        => "Address and port of the gateway and of the management surface.";
    data_dir "/var/lib/gatehouse" start => "Folder of the store, keys, audit trail and backups.";
    runtime_dir "/run/gatehouse" start => "Folder of `operate.sock` and `view.sock`, at which the console attaches.";
    host_name "" start => "Name of the box in the console, and the word that confirms a restart; empty takes the system's.";
    operators_group "gatehouse-operators" start => "Group that may connect to `operate.sock`.";
    viewers_group "gatehouse-viewers" start => "Group that may connect to `view.sock`.";
    workers "0" [same("THREADS")] start => "Worker threads; 0 takes one per processor.";
    env "" [same("ENV")] => "`production` arms the guards of docs/config.md, \"Production\".";
    log_level "info" [same("LOG_LEVEL")] => "error, warn, info, debug or trace.";
    log_format "plain" [same("LOG_FORMAT")] start => "plain or json.";
    log_dir "" [same("LOGS_DIR")] start => "Folder of the log files; empty is `logs` in the data folder.";
    access_format "json" start => "Access records as json lines, or plain: one line for the eye.";
    access_file_bytes "67108864" start => "Size at which a file of access records is followed by the next, bytes.";
    access_files "16" start => "Files of access records kept; one is begun each day and at that size.";
    audit_journald "false" start => "Each audit record also goes to the system's journal, with fields GATEHOUSE_*.";
    redact_fields "" start => "Names, separated by commas, whose values never reach a log, beside those of passwords, tokens, keys and cookies.";
    prometheus_enabled "true" [same("PROMETHEUS_ENABLED")] => "Serves `/metrics`.";
    prometheus_public "false" [same("PROMETHEUS_PUBLIC")] => "To everybody; else to loopback, the token and the list below.";
    prometheus_token "" [same("PROMETHEUS_BEARER_TOKEN"), same("PROMETHEUS_TOKEN")] secret
        => "Bearer token that opens `/metrics`, at least 16 characters.";
    prometheus_allowlist "" [same("PROMETHEUS_ALLOWLIST"), same("PROMETHEUS_IP_ALLOWLIST")]
        => "Addresses and networks that may read `/metrics`, separated by commas.";
    prometheus_trust_forwarded "false" [same("PROMETHEUS_TRUST_XFF")]
        => "The last address of `X-Forwarded-For` is the reader's; else a forwarded request is never loopback's.";
    prometheus_apis_max "200" => "APIs with series of their own, by name; the rest are `other`.";
    admin_username "admin" [same("BOOTSTRAP_ADMIN_USERNAME")] start => "Name of the first administrator.";
    admin_email "admin@localhost.localdomain" [same("DOORMAN_ADMIN_EMAIL"), same("SEED_ADMIN_EMAIL")] start
        => "E-mail address of the first administrator.";
    admin_password "" [same("BOOTSTRAP_ADMIN_PASSWORD"), same("DOORMAN_ADMIN_PASSWORD"), same("SEED_ADMIN_PASSWORD")] secret start
        => "Password of the first administrator, at least 12 characters; empty makes one: shown once on a terminal, else left in `admin-password` in the data folder.";
    signing_key "" [same("JWT_SECRET_KEY")] secret
        => "Key that signs tokens, at least 32 characters; empty makes one on the first start.";
    signing_key_previous "" secret => "Key that still verifies tokens during a rotation.";
    signing_keys "" [same("JWT_KEYS")] secret
        => "JSON list of {kid, secret, active}: the active one signs, all verify; instead of the two above. HS256 only.";
    encryption_key "" [same("MEM_ENCRYPTION_KEY"), same("TOKEN_ENCRYPTION_KEY")] secret start
        => "Key for values encrypted at rest, at least 32 characters; empty makes one on the first start.";
    access_token_secs "1800" [
        with("AUTH_EXPIRE_TIME", Convert::CountWithFrequency),
        with("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", Convert::MinutesToSeconds),
    ] => "Life of an access token, seconds.";
    refresh_token_secs "604800" [with("AUTH_REFRESH_EXPIRE_TIME", Convert::CountWithFrequency)]
        => "Life of a refresh token, seconds.";
    argon2_memory_kib "19456" start => "Memory of one password hash, KiB.";
    argon2_iterations "2" start => "Passes of one password hash.";
    argon2_lanes "1" start => "Lanes of one password hash.";
    hash_threads "2" start => "Passwords hashed at the same time.";
    login_rate_limit "5" [same("LOGIN_IP_RATE_LIMIT")] => "Logins per address and window.";
    login_rate_window_secs "300" [same("LOGIN_IP_RATE_WINDOW")] => "That window, seconds.";
    login_rate_disabled "false" [same("LOGIN_IP_RATE_DISABLED")] => "Switches that limit off.";
    registration "true" => "Anyone may make an account; it has the role `user` and no group.";
    register_rate_limit "5" [same("REGISTER_IP_RATE_LIMIT")] => "Registrations per address and window.";
    register_rate_window_secs "3600" [same("REGISTER_IP_RATE_WINDOW")] => "That window, seconds.";
    strict_envelope "false" [same("STRICT_RESPONSE_ENVELOPE")]
        => "Answers 200 always, with the status in the body.";
    enforce_admin_subscription "false" [same("ENFORCE_ADMIN_SUBSCRIPTION")]
        => "Administrators need subscriptions too.";
    page_size_max "1000" [same("MAX_PAGE_SIZE")] => "Largest page of a list.";
    history_revisions "1000" => "Changes of the configuration that are kept, so that they can be seen and taken back.";
    history_bytes "67108864" => "Bytes of rows kept for that; a change that alone is larger cannot be taken back.";
    config_dir "" start => "Folder of declared configuration (`*.toml`, `*.yaml`, `*.yml`), watched; empty watches none. docs/configuration.md.";
    tls_in_front "false" [same("HTTPS_ONLY")] => "A proxy in front speaks TLS: Secure cookies.";
    cookie_secure "false" [same("COOKIE_SECURE")] => "Secure cookies without `tls_in_front`.";
    cookie_samesite "strict" [same("COOKIE_SAMESITE")] => "strict, lax or none.";
    cookie_domain "" [same("COOKIE_DOMAIN")] => "Domain of the cookies; empty is the host asked.";
    allowed_origins "" [same("ALLOWED_ORIGINS")]
        => "Origins whose pages may use the management surface, separated by commas; `*` is any, without credentials.";
    allow_methods "GET,POST,PUT,DELETE,OPTIONS,PATCH,HEAD" [same("ALLOW_METHODS")] => "Methods that such a page may use.";
    allow_headers "Accept,Content-Type,X-CSRF-Token,Authorization,X-Requested-With,X-Request-ID" [same("ALLOW_HEADERS")]
        => "Request headers that such a page may send.";
    allow_credentials "false" [same("ALLOW_CREDENTIALS")] => "Cookies and such for origins that are named.";
    cors_strict "false" [same("CORS_STRICT")] => "`*` means the origins of this machine.";
    localhost_bypass "" [same("LOCAL_HOST_IP_BYPASS")]
        => "Loopback passes the address lists, true or false; empty leaves it to the platform's security settings.";
    body_bytes_max "1048576" [same("MAX_BODY_SIZE_BYTES_REST"), same("MAX_BODY_SIZE_BYTES")] => "Largest request body, bytes.";
    connect_timeout_millis "5000" [with("HTTP_CONNECT_TIMEOUT", Convert::SecondsToMillis)]
        => "Longest time to connect to an upstream, milliseconds.";
    read_timeout_millis "30000" [
        with("HTTP_READ_TIMEOUT", Convert::SecondsToMillis),
        with("HTTP_TIMEOUT", Convert::SecondsToMillis),
    ]
        => "Longest time to the first byte of an upstream's answer, milliseconds.";
    upstream_idle_connections "256" [same("HTTP_MAX_KEEPALIVE")]
        => "Idle connections kept per worker and upstream.";
    upstream_connections_max "1024" [same("HTTP_MAX_CONNECTIONS")]
        => "Connections to one upstream server; each worker has its share. Over it calls wait up to the time to connect, then get 503.";
    dns_servers "" => "Name servers that upstreams' names are asked of, ADDRESS or ADDRESS:PORT, with commas between; empty takes those of /etc/resolv.conf.";
    hosts_file "/etc/hosts" => "File of fixed addresses of names, which come before any name server's; read at the start and at a reload.";
    upstream_idle_millis "30000" [with("HTTP_KEEPALIVE_EXPIRY", Convert::SecondsToMillis)]
        => "Longest life of an idle upstream connection, milliseconds.";
    strict_options "false" [same("STRICT_OPTIONS_405")]
        => "OPTIONS of a path that no endpoint has is answered with 405 instead of 204.";
    skip_tiers "false" [same("SKIP_TIER_RATE_LIMIT")] => "Limits of tiers do not count.";
    breaker "true" [same("CIRCUIT_BREAKER_ENABLED")] => "An upstream server that fails is left alone for a while.";
    breaker_failures "5" [same("CIRCUIT_BREAKER_THRESHOLD")] => "Failures in a row after which that begins.";
    breaker_open_millis "30000" [with("CIRCUIT_BREAKER_TIMEOUT", Convert::SecondsToMillis)]
        => "How long until one call may try it again, milliseconds.";
    retry_base_millis "250" [with("HTTP_RETRY_BASE_DELAY", Convert::SecondsToMillis)]
        => "Longest delay before the first retry; it doubles with each, milliseconds.";
    retry_most_millis "2000" [with("HTTP_RETRY_MAX_DELAY", Convert::SecondsToMillis)]
        => "Longest delay before any retry, milliseconds.";
    compression "true" [same("COMPRESSION_ENABLED")]
        => "Answers are compressed for clients that take it, where the API does not say.";
    compression_level "1" [same("COMPRESSION_LEVEL")] => "1 (quick) to 9 (small).";
    compression_least_bytes "500" [same("COMPRESSION_MINIMUM_SIZE")] => "Shorter bodies stay as they are, bytes.";
    cache_bytes "67108864" => "Memory of the response cache over all workers, bytes.";
    trace "false" => "Begins a trace (W3C trace context) for calls that bring none; one that is brought goes on in any case.";
    websockets "false" [same("WEBSOCKETS_ENABLED")]
        => "Calls of every API may switch to WebSocket, not only those of APIs that say so.";
    client_connections_max "2048" start
        => "Connections of one client address (IPv6: of one /64) at the same time; further ones are closed.";
    proxy_protocol "false" start
        => "Every peer begins with a PROXY header (version 1 or 2) that names the client; only behind a balancer that does.";
    in_flight_max "4096" => "Requests in flight before new ones get 503.";
    client_idle_secs "75" start => "A client's connection that asks for nothing is closed after so long, seconds.";
    client_head_secs "10" start => "Longest time from the first byte of a request's head to its last, seconds.";
    client_stall_secs "30" start
        => "Period in which a client must send or take `client_least_bytes`, or all there is, seconds.";
    client_least_bytes "4096" start => "Least bytes of a body or an answer in each such period.";
    drain_secs "30" start => "Longest time requests in flight may take at shutdown, seconds.";
    handover_drain_secs "0" start => "Longest time requests in flight may take in the old process once a new one serves, after a restart under systemd, seconds; 0 takes `drain_secs`. Nobody waits for them.";
    docker_host "unix:///var/run/docker.sock" [same("DOCKER_HOST")]
        => "Address of the container engine: unix:///PATH or tcp://HOST:PORT; `none` uses none.";
    introspect_secret "" [same("INTROSPECT_SECRET")] secret
        => "What an outer platform sends as `X-Introspect-Secret` to ask about a token, at least 16 characters; empty lets everybody ask.";
    workspace_networks ""
        => "Networks of workspaces, separated by commas: peers from there may use `/internal/auth/introspect`; empty is nobody.";
    api_rate_limit "200" [same("API_RATE_LIMIT")] => "Requests below `/api/v1` of one user, key or address in a minute.";
    auth_rate_limit "60" [same("AUTH_RATE_LIMIT")] => "Logins and introspections of one address in a minute.";
    hsts "false" [same("ENFORCE_HTTPS")] => "Sends `Strict-Transport-Security` below `/api/v1` and with the login form.";
    hsts_max_age "31536000" [same("HSTS_MAX_AGE")] => "Its age, seconds.";
    hsts_include_subdomains "true" [same("HSTS_INCLUDE_SUBDOMAINS")] => "It counts for subdomains too.";
    jwt_algorithm "HS256" [same("JWT_ALGORITHM")] => "Algorithm of tokens; HS256 is the only one.";
    store_backend "sled" start => "sled, or memory (nothing survives a restart).";
}

/// The row of a name.
pub(crate) fn named(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The nearest known name, for a message.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `docs/config.md`.
pub(crate) fn document() -> String {
    let mut page = String::from(
        "# Settings\n\nGenerated from `daemon/src/settings/table.rs`; `gatehoused --print-docs config` writes it anew.\n\n\
         Order, first wins: flag, environment, systemd credential, file (`/etc/gatehouse/gatehouse.toml`), default.\n\
         The variable of a setting is `GATEHOUSE_` and its name in upper case. A secret may also be given as\n\
         `NAME_FILE`, the path of a file that holds it. What is taken anew at a reload (SIGHUP) counts at once;\n\
         what is taken anew at a start waits for one, and the reload names it if it differs.\n\n| Setting | Default | Older names | Taken anew | Meaning |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let aliases: Vec<String> = setting.aliases.iter().map(|alias| format!("`{}`", alias.name)).collect();
        let default = match (setting.secret, setting.default) {
            (true, _) if setting.help.contains("makes one") => "made".to_owned(),
            (_, "") => "empty".to_owned(),
            (_, text) => format!("`{text}`"),
        };
        page.push_str(&format!(
            "| `{}` | {default} | {} | {} | {} |\n",
            setting.name,
            aliases.join(", "),
            if setting.start { "start" } else { "reload" },
            setting.help
        ));
    }
    page.push_str(
        "\n## Production\n\nWith `env = \"production\"` the daemon refuses to start (exit 78) without `tls_in_front`, with\n\
         `allowed_origins = \"*\"` together with `allow_credentials`, or with `localhost_bypass`.\n",
    );
    page
}
