//! Settings: flags, environment, systemd credentials, file and defaults, merged once, checked, printed.
//! The only file that reads the environment.

pub(crate) mod checked;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod gateway;
mod guards;
mod identity;
mod keeping;
mod observing;
mod pinning;
pub(crate) mod secrets;
pub(crate) mod signing;
pub(crate) mod table;
mod versioned;

pub(crate) use pinning::{pinned, waiting};

use gatehouse_control::Effective;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use table::{Alias, Convert, SETTINGS, Setting};

/// Where the file lies when no flag names another.
pub(crate) const FILE: &str = "/etc/gatehouse/gatehouse.toml";

/// The source of a value that nobody gave.
const DEFAULT: &str = "default";

/// What the process was started with, as data: tests make their own.
#[derive(Debug, Default, Clone)]
pub(crate) struct Inputs {
    /// Flags by setting name.
    pub(crate) flags: BTreeMap<String, String>,
    /// Environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The file named by flag, which must then exist.
    pub(crate) file: Option<PathBuf>,
}

impl Inputs {
    /// Reads the environment.
    pub(crate) fn from_process(flags: BTreeMap<String, String>, file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { flags, environment, file }
    }
}

/// A variable of the environment, for secrets that a declared configuration names.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// One merged value.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) source: String,
}

impl std::fmt::Debug for Value {
    /// Without the text: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("source", &self.source).finish_non_exhaustive()
    }
}

/// All merged values by setting name.
pub(crate) type Merged = BTreeMap<&'static str, Value>;

/// Merges the layers.
///
/// # Errors
/// Every problem found, each naming the setting and where it came from.
pub(crate) fn merge(inputs: &Inputs) -> Result<(Merged, Option<PathBuf>), Vec<String>> {
    let mut problems = Vec::new();
    let path = inputs.file.clone().or_else(|| inputs.environment.get("GATEHOUSE_CONFIG").map(PathBuf::from));
    let file = read_file(path.as_deref(), &mut problems);
    unknown_variables(inputs, &mut problems);
    let mut merged = Merged::new();
    for setting in SETTINGS {
        match lookup(setting, inputs, &file.values) {
            Ok(value) => drop(merged.insert(setting.name, value)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok((merged, file.path)) } else { Err(problems) }
}

fn lookup(setting: &Setting, inputs: &Inputs, file: &BTreeMap<String, String>) -> Result<Value, String> {
    if let Some(text) = inputs.flags.get(setting.name) {
        return Ok(Value {
            text: text.clone(),
            source: format!("flag --{}", setting.name.replace('_', "-")),
        });
    }
    if let Some(value) = from_environment(setting, &inputs.environment)? {
        return Ok(value);
    }
    if let Some(folder) = inputs.environment.get("CREDENTIALS_DIRECTORY") {
        let path = Path::new(folder).join(setting.name);
        if path.is_file() {
            return read_secret(&path).map(|text| Value { text, source: "systemd credential".to_owned() });
        }
    }
    if let Some(text) = file.get(setting.name) {
        return Ok(Value { text: text.clone(), source: "file".to_owned() });
    }
    Ok(Value { text: setting.default.to_owned(), source: DEFAULT.to_owned() })
}

fn from_environment(
    setting: &Setting,
    environment: &BTreeMap<String, String>,
) -> Result<Option<Value>, String> {
    let native = Alias { name: "", convert: Convert::Same };
    let variable = setting.variable();
    let names = std::iter::once((variable.as_str(), &native))
        .chain(setting.aliases.iter().map(|alias| (alias.name, alias)));
    for (name, alias) in names {
        if let Some(text) = environment.get(name).filter(|text| !text.is_empty()) {
            let text = convert(name, text, alias.convert, environment)?;
            return Ok(Some(Value { text, source: format!("environment {name}") }));
        }
        if let Some(path) = environment.get(&format!("{name}_FILE")).filter(|_| setting.secret) {
            let text = read_secret(Path::new(path))?;
            return Ok(Some(Value { text, source: format!("environment {name}_FILE") }));
        }
    }
    Ok(None)
}

fn read_secret(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn convert(
    name: &str,
    text: &str,
    how: Convert,
    environment: &BTreeMap<String, String>,
) -> Result<String, String> {
    let number = || {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite() && *n >= 0.0)
            .ok_or_else(|| format!("{name}: {text:?}: expected a number"))
    };
    match how {
        Convert::Same => Ok(text.to_owned()),
        Convert::SecondsToMillis => number().map(|n| format!("{:.0}", n * 1e3)),
        Convert::MinutesToSeconds => number().map(|n| format!("{:.0}", n * 60.0)),
        Convert::CountWithFrequency => {
            let unit_name = format!("{name}_FREQ");
            let unit = environment.get(&unit_name).map_or("", String::as_str);
            let default = if name.contains("REFRESH") { 86_400.0 } else { 60.0 };
            let factor = match unit.trim().to_lowercase().trim_end_matches('s') {
                "" if unit.trim().is_empty() => default,
                "" | "sec" | "second" => 1.0,
                "m" | "min" | "minute" => 60.0,
                "h" | "hr" | "hour" => 3_600.0,
                "d" | "day" => 86_400.0,
                "w" | "week" => 604_800.0,
                _ => {
                    return Err(format!(
                        "{unit_name}: {unit:?}: expected seconds, minutes, hours, days or weeks"
                    ));
                }
            };
            number().map(|n| format!("{:.0}", n * factor))
        }
        Convert::AddressPart => {
            let host = environment.get("HOST").map_or("0.0.0.0", String::as_str);
            let port = environment.get("PORT").map_or("8080", String::as_str);
            Ok(format!("{host}:{port}"))
        }
    }
}

/// A variable that begins with `GATEHOUSE_` and is none of ours is a typing error.
fn unknown_variables(inputs: &Inputs, problems: &mut Vec<String>) {
    let file = |setting: &Setting| format!("{}_FILE", setting.variable());
    let known: Vec<String> = SETTINGS
        .iter()
        .flat_map(|setting| std::iter::once(setting.variable()).chain(setting.secret.then(|| file(setting))))
        .chain(["GATEHOUSE_CONFIG", "GATEHOUSE_SOCKET", "GATEHOUSE_PLAIN"].map(str::to_owned))
        .collect();
    for name in inputs.environment.keys().filter(|name| name.starts_with("GATEHOUSE_")) {
        if let Some(open) = SETTINGS.iter().find(|setting| !setting.secret && file(setting) == *name) {
            let (own, variable) = (open.name, open.variable());
            problems
                .push(format!("environment: {name}: {own} is no secret; expected its value in {variable}"));
            continue;
        }
        // Variables of the tests and of the benchmark are none of the daemon's.
        if !known.contains(name) && !name.starts_with("GATEHOUSE_TEST_") {
            problems.push(unknown(name, "environment", known.iter().map(String::as_str)));
        }
    }
}

fn unknown<'a>(name: &str, place: &str, known: impl Iterator<Item = &'a str>) -> String {
    match table::nearest(name, known) {
        Some(nearest) => format!("{place}: unknown setting {name:?}; did you mean {nearest:?}?"),
        None => format!("{place}: unknown setting {name:?}; docs/config.md lists all"),
    }
}

#[derive(Default)]
struct File {
    path: Option<PathBuf>,
    values: BTreeMap<String, String>,
}

fn read_file(named: Option<&Path>, problems: &mut Vec<String>) -> File {
    let path = named.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        // Without a flag the file may be absent.
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return File::default();
        }
        Err(error) => {
            problems.push(format!("{}: {error}", path.display()));
            return File::default();
        }
    };
    let mut values = BTreeMap::new();
    match text.parse::<toml::Table>() {
        Ok(table) => flatten("", &table, &mut values),
        Err(error) => problems.push(format!("{}: {}", path.display(), error.to_string().trim())),
    }
    for name in values.keys().filter(|name| table::named(name).is_none()) {
        let place = path.display().to_string();
        problems.push(unknown(name, &place, SETTINGS.iter().map(|setting| setting.name)));
    }
    File { path: Some(path.to_owned()), values }
}

/// `[argon2] lanes = 1` is `argon2_lanes`.
fn flatten(prefix: &str, table: &toml::Table, into: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&name, inner, into),
            toml::Value::String(text) => drop(into.insert(name, text.clone())),
            other => drop(into.insert(name, other.to_string())),
        }
    }
}

/// A value for whoever may see settings: of a secret its mask.
fn shown(setting: &Setting, value: &Value) -> String {
    match (setting.secret, value.text.is_empty()) {
        (true, false) => gatehouse_common::secret::MASK.to_owned(),
        _ => value.text.clone(),
    }
}

/// The merged settings as text, secrets redacted, each with its source.
pub(crate) fn print(merged: &Merged) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let Some(value) = merged.get(setting.name) else { continue };
        let shown = match shown(setting, value) {
            text if setting.secret && !text.is_empty() => text,
            text => format!("{text:?}"),
        };
        text.push_str(&format!("{} = {shown}  # {}\n", setting.name, value.source));
    }
    text
}

/// The merged settings as the management surface shows them.
pub(crate) fn effective(merged: &Merged) -> Vec<Effective> {
    let one = |setting: &Setting| {
        let value = merged.get(setting.name)?;
        Some(Effective {
            name: setting.name,
            value: shown(setting, value),
            source: value.source.clone(),
            live: !setting.start,
        })
    };
    SETTINGS.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(environment: &[(&str, &str)]) -> Inputs {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Inputs { environment, ..Inputs::default() }
    }

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatehouse.toml");
        std::fs::write(&path, "drain_secs = 7\nworkers = 3\n[argon2]\nlanes = 2\n").unwrap();
        let mut inputs = inputs(&[("GATEHOUSE_WORKERS", "4"), ("HTTP_CONNECT_TIMEOUT", "0.25")]);
        inputs.file = Some(path);
        inputs.flags.insert("listen".into(), "127.0.0.1:1".into());
        let (merged, _) = merge(&inputs).unwrap();
        let got = |name: &str| (merged[name].text.as_str(), merged[name].source.as_str());
        assert_eq!(got("listen"), ("127.0.0.1:1", "flag --listen"));
        assert_eq!(got("workers"), ("4", "environment GATEHOUSE_WORKERS"));
        assert_eq!(got("drain_secs"), ("7", "file"));
        assert_eq!(got("argon2_lanes"), ("2", "file"));
        assert_eq!(got("connect_timeout_millis").0, "250");
        assert_eq!(got("log_level"), ("info", "default"));
    }

    #[test]
    fn unknown_names_suggest_the_nearest() {
        let problems = merge(&inputs(&[("GATEHOUSE_LISTN", "x")])).err().unwrap();
        assert!(problems[0].contains("GATEHOUSE_LISTEN"), "{problems:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.toml");
        std::fs::write(&path, "drain_sec = 1\n").unwrap();
        let problems = merge(&Inputs { file: Some(path), ..Inputs::default() }).err().unwrap();
        assert!(problems[0].contains("drain_secs"), "{problems:?}");
    }

    #[test]
    fn older_names_with_a_unit() {
        let given = inputs(&[("AUTH_EXPIRE_TIME", "2"), ("AUTH_EXPIRE_TIME_FREQ", "hours"), ("PORT", "81")]);
        let (merged, _) = merge(&given).unwrap();
        assert_eq!(merged["access_token_secs"].text, "7200");
        assert_eq!(merged["listen"].text, "0.0.0.0:81");
    }

    #[test]
    fn printing_hides_secrets() {
        let (merged, _) = merge(&inputs(&[("JWT_SECRET_KEY", "quite-a-secret-thing")])).unwrap();
        let text = print(&merged);
        assert!(!text.contains("quite-a-secret"), "{text}");
        assert!(text.contains("signing_key = •••  # environment JWT_SECRET_KEY"), "{text}");
        let shown = effective(&merged);
        let key = shown.iter().find(|one| one.name == "signing_key").unwrap();
        assert_eq!((key.value.as_str(), key.live), ("•••", true));
        assert!(!shown.iter().find(|one| one.name == "workers").unwrap().live);
        assert!(!format!("{merged:?}").contains("quite-a-secret"));
    }

    #[test]
    fn what_is_read_at_a_start_waits_for_one() {
        let (now, _) = merge(&inputs(&[])).unwrap();
        let (new, _) = merge(&inputs(&[
            ("GATEHOUSE_DATA_DIR", "/elsewhere"),
            ("GATEHOUSE_ARGON2_LANES", "2"),
            ("GATEHOUSE_PROXY_PROTOCOL", "true"),
            ("GATEHOUSE_ACCESS_FILES", "3"),
            ("LOG_LEVEL", "debug"),
        ]))
        .unwrap();
        assert_eq!(waiting(&now, &new), ["data_dir", "access_files", "argon2_lanes", "proxy_protocol"]);
        let taken = pinned(&now, new);
        assert_eq!(waiting(&now, &taken), [""; 0]);
        assert_eq!(
            (taken["log_level"].text.as_str(), taken["data_dir"].text.as_str()),
            ("debug", "/var/lib/gatehouse")
        );
    }

    #[test]
    fn only_a_secret_may_lie_in_a_file() {
        let problems = merge(&inputs(&[("GATEHOUSE_LISTEN_FILE", "/x")])).err().unwrap();
        assert!(
            problems[0].contains("listen is no secret") && problems[0].contains("GATEHOUSE_LISTEN"),
            "{problems:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "in-a-file\n").unwrap();
        let (merged, _) = merge(&inputs(&[("GATEHOUSE_SIGNING_KEY_FILE", path.to_str().unwrap())])).unwrap();
        assert_eq!(merged["signing_key"].text, "in-a-file");
    }
}
