//! What a reload leaves as the start had it.

use super::Merged;
use super::table::{SETTINGS, Setting};

/// Names of the settings that differ and are read at a start only.
pub(crate) fn waiting(now: &Merged, new: &Merged) -> Vec<&'static str> {
    let text = |merged: &Merged, name: &str| merged.get(name).map(|value| value.text.clone());
    let differs = |setting: &&Setting| setting.start && text(now, setting.name) != text(new, setting.name);
    SETTINGS.iter().filter(differs).map(|setting| setting.name).collect()
}

/// New settings with the present ones in the place of those that are read at a start only: a reload must not take half
/// of what belongs together, such as another data folder's keys.
pub(crate) fn pinned(now: &Merged, mut new: Merged) -> Merged {
    for setting in SETTINGS.iter().filter(|setting| setting.start) {
        if let Some(value) = now.get(setting.name) {
            new.insert(setting.name, value.clone());
        }
    }
    new
}
