//! Merged text to typed settings; every problem at once, each naming its setting.

use super::guards;
use super::keeping::Keeping;
use super::secrets;
use super::signing::SigningKey;
use super::{Merged, Value};
use gatehouse_common::secret::Secret;
use gatehouse_control::{Effective, EgressAllow, MetricsAccess, Versioned};
use gatehouse_corridor::snapshot::GatewayLimits;
use gatehouse_data::ClientLimits;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The settings a daemon runs with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) host_name: Option<String>,
    pub(crate) operators_group: String,
    pub(crate) viewers_group: String,
    pub(crate) workers: usize,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) log_dir: PathBuf,
    pub(crate) access_json: bool,
    pub(crate) access_file_bytes: u64,
    pub(crate) access_files: usize,
    pub(crate) redact_fields: Vec<String>,
    pub(crate) audit_journald: bool,
    pub(crate) metrics: MetricsAccess,
    pub(crate) egress_allow: EgressAllow,
    pub(crate) admin_username: String,
    pub(crate) admin_email: String,
    pub(crate) admin_password: Option<Secret<String>>,
    pub(crate) signing_key: Option<Secret<String>>,
    pub(crate) signing_key_previous: Option<Secret<String>>,
    pub(crate) signing_keys: Vec<SigningKey>,
    pub(crate) encryption_key: Option<Secret<String>>,
    pub(crate) access_token_secs: i64,
    pub(crate) refresh_token_secs: i64,
    pub(crate) argon2: (u32, u32, u32),
    pub(crate) hash_threads: usize,
    pub(crate) login_limit: (u64, u64, bool),
    pub(crate) identity: gatehouse_control::Identity,
    pub(crate) registration: bool,
    pub(crate) register_limit: (u64, u64),
    pub(crate) strict_envelope: bool,
    pub(crate) enforce_admin_subscription: bool,
    pub(crate) page_size_max: usize,
    pub(crate) keeping: Keeping,
    pub(crate) versioned: Versioned,
    pub(crate) cookie_secure: bool,
    pub(crate) cookie_samesite: String,
    pub(crate) cookie_domain: Option<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) allow_credentials: bool,
    pub(crate) cors_strict: bool,
    /// `None`: nothing says, so the platform's own settings do.
    pub(crate) localhost_bypass: Option<bool>,
    pub(crate) dns_servers: Vec<SocketAddr>,
    pub(crate) hosts_file: PathBuf,
    pub(crate) drain: Duration,
    /// Zero: as `drain`.
    pub(crate) handover_drain: Duration,
    pub(crate) clients: ClientLimits,
    pub(crate) gateway: GatewayLimits,
    pub(crate) docker_host: Option<String>,
    pub(crate) store_backend: String,
    pub(crate) file: Option<PathBuf>,
    /// All of them as they are shown.
    pub(crate) effective: Vec<Effective>,
    /// All of them as they were given.
    pub(crate) merged: Merged,
}

impl Settings {
    /// Whether nobody gave a setting.
    pub(crate) fn is_default(&self, name: &str) -> bool {
        self.merged.get(name).is_none_or(|value| value.source == super::DEFAULT)
    }
}

pub(super) struct Reader<'a> {
    merged: &'a Merged,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Value {
        let none = || Value { text: String::new(), source: "nowhere".to_owned() };
        self.merged.get(name).cloned().unwrap_or_else(none)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).text
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn problem(&mut self, name: &str, expected: impl Display) {
        let value = self.value(name);
        let secret = super::table::named(name).is_some_and(|setting| setting.secret);
        let shown =
            if secret { gatehouse_common::secret::MASK.to_owned() } else { format!("{:?}", value.text) };
        self.problems.push(format!("{name} = {shown} ({}): {expected}", value.source));
    }

    pub(super) fn number<T: FromStr + Default + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        low: T,
        high: T,
    ) -> T {
        let expected = format!("expected a whole number from {low} to {high}");
        let value: T = match self.text(name).trim().parse() {
            Ok(value) => value,
            Err(_) => {
                self.problem(name, expected);
                return low;
            }
        };
        if value < low || value > high {
            self.problem(name, expected);
        }
        value
    }

    /// Seconds, a day at most.
    pub(super) fn seconds(&mut self, name: &str) -> std::time::Duration {
        std::time::Duration::from_secs(self.number(name, 0, 86_400))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problem(name, "expected true or false");
                false
            }
        }
    }

    fn one_of(&mut self, name: &str, allowed: &[&str]) -> String {
        let text = self.text(name).trim().to_lowercase();
        if !allowed.contains(&text.as_str()) {
            self.problem(name, format!("expected one of {}", allowed.join(", ")));
        }
        text
    }

    /// As the log's filter knows it; `warning` is an older name of one, and to the filter that of a target.
    fn log_level(&mut self) -> String {
        match self.one_of("log_level", &["error", "warn", "warning", "info", "debug", "trace"]).as_str() {
            "warning" => "warn".to_owned(),
            level => level.to_owned(),
        }
    }

    fn signing_keys(&mut self) -> Vec<SigningKey> {
        let Some(text) = self.optional("signing_keys") else { return Vec::new() };
        super::signing::keys(&text).unwrap_or_else(|why| {
            self.problem("signing_keys", why);
            Vec::new()
        })
    }

    fn engine(&mut self) -> Option<String> {
        let host = self.optional("docker_host").filter(|host| host.trim() != "none")?;
        if let Err(why) = gatehouse_engine::Docker::check(&host) {
            self.problem("docker_host", why);
        }
        Some(host)
    }

    /// So many in so many seconds.
    fn window(&mut self, most: &str, secs: &str) -> (u64, u64) {
        (self.number(most, 1, 1_000_000), self.number(secs, 1, 86_400))
    }

    /// As [`Reader::window`], and whether it is off.
    fn login_limit(&mut self) -> (u64, u64, bool) {
        let (most, secs) = self.window("login_rate_limit", "login_rate_window_secs");
        (most, secs, self.flag("login_rate_disabled"))
    }

    /// Memory in KiB, passes and lanes of one password hash.
    fn argon2(&mut self) -> (u32, u32, u32) {
        (
            self.number("argon2_memory_kib", 8_192, 1_048_576),
            self.number("argon2_iterations", 1, 64),
            self.number("argon2_lanes", 1, 16),
        )
    }

    fn key(&mut self, name: &str) -> Option<Secret<String>> {
        let text = self.optional(name)?;
        if let Some(why) = secrets::weakness(&text) {
            self.problem(name, why);
        }
        Some(Secret::new(text))
    }
}

/// Types and checks the merged settings.
///
/// # Errors
/// All problems, one line each; no secret in them.
pub(crate) fn check(merged: &Merged, file: Option<PathBuf>) -> Result<Settings, Vec<String>> {
    let mut r = Reader { merged, problems: Vec::new() };
    let data_dir = PathBuf::from(r.text("data_dir"));
    let log_dir = r.optional("log_dir").map_or_else(|| data_dir.join("logs"), PathBuf::from);
    let listen = r.listen();
    let tls_in_front = r.flag("tls_in_front");
    let settings = Settings {
        listen,
        runtime_dir: PathBuf::from(r.text("runtime_dir")),
        host_name: r.optional("host_name"),
        operators_group: r.text("operators_group"),
        viewers_group: r.text("viewers_group"),
        workers: r.number("workers", 0, 1024),
        log_level: r.log_level(),
        log_json: r.one_of("log_format", &["plain", "json"]) == "json",
        log_dir,
        access_json: r.one_of("access_format", &["json", "plain"]) == "json",
        access_file_bytes: r.number("access_file_bytes", 65_536, 1 << 40),
        access_files: r.number("access_files", 1, 10_000),
        redact_fields: r.redact_fields(),
        audit_journald: r.flag("audit_journald"),
        metrics: r.metrics(),
        egress_allow: r.egress_allow(),
        admin_username: r.text("admin_username"),
        admin_email: r.text("admin_email"),
        admin_password: r.optional("admin_password").map(Secret::new),
        signing_key: r.key("signing_key"),
        signing_key_previous: r.key("signing_key_previous"),
        signing_keys: r.signing_keys(),
        encryption_key: r.key("encryption_key"),
        access_token_secs: r.number("access_token_secs", 30, 31_536_000),
        refresh_token_secs: r.number("refresh_token_secs", 60, 31_536_000),
        argon2: r.argon2(),
        hash_threads: r.number("hash_threads", 1, 64),
        login_limit: r.login_limit(),
        identity: r.identity(),
        registration: r.flag("registration"),
        register_limit: r.window("register_rate_limit", "register_rate_window_secs"),
        strict_envelope: r.flag("strict_envelope"),
        enforce_admin_subscription: r.flag("enforce_admin_subscription"),
        page_size_max: r.number("page_size_max", 1, 1_000),
        keeping: r.keeping(),
        versioned: r.versioned(),
        cookie_secure: tls_in_front || r.flag("cookie_secure"),
        cookie_samesite: r.one_of("cookie_samesite", &["strict", "lax", "none"]),
        cookie_domain: r.optional("cookie_domain"),
        allowed_origins: r.list("allowed_origins"),
        allow_methods: r.list("allow_methods").iter().map(|method| method.to_uppercase()).collect(),
        allow_headers: r.list("allow_headers"),
        allow_credentials: r.flag("allow_credentials"),
        cors_strict: r.flag("cors_strict"),
        localhost_bypass: r.optional("localhost_bypass").map(|_| r.flag("localhost_bypass")),
        dns_servers: r.dns_servers(),
        hosts_file: PathBuf::from(r.text("hosts_file")),
        drain: r.seconds("drain_secs"),
        handover_drain: r.seconds("handover_drain_secs"),
        clients: r.clients(),
        gateway: r.gateway(),
        docker_host: r.engine(),
        store_backend: r.one_of("store_backend", &["sled", "memory"]),
        data_dir,
        file,
        effective: super::effective(merged),
        merged: merged.clone(),
    };
    guards::identity(&mut r, &settings);
    guards::production(&mut r, tls_in_front);
    if r.problems.is_empty() { Ok(settings) } else { Err(r.problems) }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, merge};
    use super::*;

    fn problems(environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (merged, file) = merge(&Inputs { environment, ..Inputs::default() }).ok().unwrap();
        check(&merged, file).err().unwrap_or_default()
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(problems(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_level_has_the_name_that_the_filter_knows() {
        for (given, level) in [("WARNING", "warn"), ("Warn", "warn"), ("debug", "debug")] {
            let environment = [("LOG_LEVEL".to_owned(), given.to_owned())].into();
            let (merged, file) = merge(&Inputs { environment, ..Inputs::default() }).ok().unwrap();
            assert_eq!(check(&merged, file).ok().unwrap().log_level, level);
        }
        assert!(problems(&[("LOG_LEVEL", "loud")])[0].starts_with("log_level"));
    }

    #[test]
    fn an_engine_can_be_declined() {
        for (given, expected) in [
            ("", Some("unix:///var/run/docker.sock")),
            ("none", None),
            ("tcp://docker-socket-proxy:2375", Some("tcp://docker-socket-proxy:2375")),
        ] {
            let environment = [("DOCKER_HOST".to_owned(), given.to_owned())].into();
            let (merged, file) = merge(&Inputs { environment, ..Inputs::default() }).ok().unwrap();
            assert_eq!(check(&merged, file).ok().unwrap().docker_host.as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn each_problem_names_its_setting_and_no_secret() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyz";
        for (environment, name) in [
            (vec![("GATEHOUSE_LISTEN", "nowhere")], "listen"),
            (vec![("THREADS", "many")], "workers"),
            (vec![("GATEHOUSE_DNS_SERVERS", "10.0.0.1, [::1]:5353, ::1, nowhere")], "dns_servers"),
            (vec![("JWT_SECRET_KEY", "tooshort1")], "signing_key"),
            (vec![("JWT_SECRET_KEY", long), ("MEM_ENCRYPTION_KEY", long)], "encryption_key"),
            (vec![("DOORMAN_ADMIN_PASSWORD", "tiny")], "admin_password"),
            (vec![("GATEHOUSE_REDACT_FIELDS", &*"x".repeat(99))], "redact_fields"),
            (vec![("PROMETHEUS_TOKEN", "tooshort1")], "prometheus_token"),
            (vec![("PROMETHEUS_IP_ALLOWLIST", "10.0.0.0/8, nowhere")], "prometheus_allowlist"),
            (vec![("GATEHOUSE_EGRESS_ALLOW", "wiki.example, 10.0.0.0/99")], "egress_allow"),
            (vec![("DOCKER_HOST", "docker.sock")], "docker_host"),
            (vec![("PUBLIC_BASE_URL", "gate.example.org")], "public_base_url"),
            (
                vec![("GATEHOUSE_OIDC_ISSUER", "https://idp"), ("GATEHOUSE_OIDC_CLIENT_ID", "g")],
                "oidc_issuer",
            ),
            (vec![("ENV", "production")], "tls_in_front"),
            (vec![("ENV", "Prod")], "tls_in_front"),
            (
                vec![("ENV", "production"), ("HTTPS_ONLY", "true"), ("LOCAL_HOST_IP_BYPASS", "true")],
                "localhost_bypass",
            ),
            (
                vec![
                    ("ENV", "production"),
                    ("HTTPS_ONLY", "true"),
                    ("ALLOWED_ORIGINS", "*"),
                    ("ALLOW_CREDENTIALS", "1"),
                ],
                "allowed_origins",
            ),
        ] {
            let found = problems(&environment);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(name), "{found:?}");
            assert!(!found[0].contains("tooshort1") && !found[0].contains(long), "{found:?}");
        }
    }
}
