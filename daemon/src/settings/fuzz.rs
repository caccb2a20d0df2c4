//! What must hold of settings whatever is written: a target of `make fuzz`, whose corpus every `make test` reads again.

use super::table::{SETTINGS, Setting};
use super::{Inputs, checked, merge, print};
use std::collections::BTreeMap;
use std::path::Path;

/// Lines `NAME=VALUE` of the environment, then, behind a line of three dashes, the file, which is written to `place`. No text
/// that tells of problems or prints the settings has a secret in it.
///
/// # Panics
/// When that is not so.
pub(crate) fn settings(bytes: &[u8], place: &Path) {
    let text = String::from_utf8_lossy(bytes);
    let (environment, file) = text.split_once("---\n").unwrap_or((&text, ""));
    // Values that name files are read from the disk, which is not what is tried here.
    let names_file =
        |name: &str| name.ends_with("_FILE") || name == "GATEHOUSE_CONFIG" || name == "CREDENTIALS_DIRECTORY";
    let environment: BTreeMap<String, String> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !names_file(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if std::fs::write(place, file).is_err() {
        return;
    }
    let secrets: Vec<&String> =
        environment.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value).collect();
    let inputs =
        Inputs { environment: environment.clone(), file: Some(place.to_owned()), ..Inputs::default() };
    let told = match merge(&inputs) {
        Err(problems) => problems.join("\n"),
        Ok((merged, path)) => {
            let printed = print(&merged);
            match checked::check(&merged, path) {
                Ok(_) => printed,
                Err(problems) => printed + &problems.join("\n"),
            }
        }
    };
    // A short one may stand in any text by chance.
    let shown = secrets.into_iter().find(|secret| secret.len() > 20 && told.contains(secret.as_str()));
    let elsewhere = |secret: &String| {
        environment.iter().any(|(name, value)| !is_secret(name) && value.contains(secret.as_str()))
    };
    assert!(shown.is_none_or(|secret| elsewhere(secret) || file.contains(secret.as_str())), "{told}");
}

fn is_secret(name: &str) -> bool {
    let is = |setting: &&Setting| {
        setting.variable() == name || setting.aliases.iter().any(|alias| alias.name == name)
    };
    SETTINGS.iter().find(is).is_some_and(|setting| setting.secret)
}

#[cfg(test)]
mod tests {
    #[test]
    fn never_panics_on_the_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/settings");
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(files.len() > 5);
        for file in files {
            super::settings(
                &std::fs::read(file.unwrap().path()).unwrap(),
                &folder.path().join("gatehouse.toml"),
            );
        }
    }
}
