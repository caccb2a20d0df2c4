//! The screens: one file each, one line each below.

use crate::canvas::Canvas;
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::widgets::palette::Entry;
use crate::world::World;
use ratatui::layout::Rect;
use std::collections::BTreeMap;

/// What a screen asks of the console.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Do(Effect),
    /// Begins a stream; the console numbers it.
    Follow(crate::event::Topic),
    Go(ScreenId),
    /// To the runbook's parameters and plan.
    Runbook(String, BTreeMap<String, String>),
    /// To the route's detail.
    Route(String),
    /// To the logs with this query.
    Logs(String),
    /// A list to choose from.
    Choose(String, Vec<Entry>),
    Say(String),
}

/// A screen: its own state, never the daemon's.
pub(crate) trait Screen {
    /// Places whose commands apply now.
    fn places(&self) -> Vec<Place>;

    /// Tables it shows, read when it is shown and now and then.
    fn asks(&self) -> Vec<Ask>;

    /// A key while something is typed here; `None` when nothing is.
    fn typed(&mut self, _world: &World, _key: Key) -> Option<Vec<Act>> {
        None
    }

    /// Pasted text.
    fn paste(&mut self, _text: &str) {}

    /// The command line that shows the same, after the program's name.
    fn same_as(&self) -> String;

    /// A command.
    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act>;

    /// Draws from the state, changing nothing.
    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect);
}

/// A verb with its words, quoted for a shell.
fn line(verb: &str, words: &str) -> String {
    match shlex::try_quote(words) {
        Ok(quoted) if !words.is_empty() => format!("{verb} {quoted}"),
        _ => verb.to_owned(),
    }
}

macro_rules! screens {
    ($(mod $module:ident; $name:ident $title:literal;)*) => {
        $(pub(crate) mod $module;)*

        /// A screen's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ScreenId { $($name),* }

        impl ScreenId {
            /// All, in the order of the tabs.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its tab.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }

        /// The state of every screen.
        #[derive(Debug, Default)]
        pub(crate) struct Screens { $(pub(crate) $module: $module::$name),* }

        impl Screens {
            /// A screen to look at.
            pub(crate) fn get(&self, id: ScreenId) -> &dyn Screen {
                match id { $(ScreenId::$name => &self.$module),* }
            }

            /// A screen to change.
            pub(crate) fn get_mut(&mut self, id: ScreenId) -> &mut dyn Screen {
                match id { $(ScreenId::$name => &mut self.$module),* }
            }
        }
    };
}

screens! {
    mod overview; Overview "Overview";
    mod routes; Routes "Routes";
    mod logs; Logs "Logs";
    mod access; Access "Access";
    mod runbooks; Runbooks "Runbooks";
    mod audit; Audit "Audit";
    mod health; Health "Health";
}
