//! The table of commands: keys, words and places. Footer, help and palette are made from it.

use crate::event::Key;
use crate::screens::ScreenId;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cmd {
    Go(ScreenId),
    Help,
    Palette,
    Quit,
    Suspend,
    Safety,
    Retry,
    Next,
    Previous,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    Back,
    Filter,
    NextMatch,
    PreviousMatch,
    Sort,
    Reverse,
    Pause,
    Follow,
    Level,
    Logs,
    SameRequest,
    SameError,
    SameRoute,
    Runbooks,
    Confirm,
    Undo,
    Stop,
    Copy,
    CopyCommand,
    Export,
}

/// Where a command applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Everywhere,
    /// Wherever there are rows.
    Rows,
    On(ScreenId),
    /// On a plan's page.
    Plan,
    /// On a run's page.
    Run,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    pub(crate) cmd: Cmd,
    pub(crate) words: &'static str,
    /// Shorter words for the footer; empty keeps it out.
    pub(crate) footer: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) place: Place,
}

macro_rules! commands {
    ($($cmd:expr, $place:expr, [$($key:expr),+], $footer:literal, $words:literal;)*) => {
        /// Every command, in the order of the footer.
        pub(crate) const COMMANDS: &[Command] = &[$(Command {
            cmd: $cmd, words: $words, footer: $footer, keys: &[$($key),+], place: $place,
        }),*];
    };
}

use Key::{Char, Ctrl};
use Place::{Everywhere, On, Plan, Rows, Run};

commands! {
    Cmd::Confirm, Plan, [Char('x')], "confirm", "go to the confirmation line of this plan";
    Cmd::Up, Plan, [Key::Up, Char('k')], "", "up";
    Cmd::Down, Plan, [Key::Down, Char('j')], "", "down";
    Cmd::Stop, Run, [Char('c')], "stop at safe point", "ask the run to stop at its next safe point";
    Cmd::Undo, Run, [Char('U')], "undo", "plan the undo of this run";
    Cmd::Pause, Run, [Char(' ')], "pause output", "hold the output still; the run goes on";
    Cmd::Open, Rows, [Key::Enter], "open", "open the selected row";
    Cmd::Filter, Rows, [Char('/')], "filter", "show only rows with these words";
    Cmd::Up, Rows, [Key::Up, Char('k')], "", "up";
    Cmd::Down, Rows, [Key::Down, Char('j')], "", "down";
    Cmd::PageUp, Rows, [Key::PageUp], "", "a page up";
    Cmd::PageDown, Rows, [Key::PageDown], "", "a page down";
    Cmd::First, Rows, [Key::Home, Char('g')], "", "to the first";
    Cmd::Last, Rows, [Key::End, Char('G')], "", "to the last";
    Cmd::Pause, On(ScreenId::Logs), [Char(' ')], "pause", "hold the lines still; reading goes on";
    Cmd::Follow, On(ScreenId::Logs), [Char('F')], "follow", "follow the newest line";
    Cmd::Level, On(ScreenId::Logs), [Char('l')], "level", "lowest level shown, next in turn";
    Cmd::NextMatch, On(ScreenId::Logs), [Char('n')], "", "next warning or error";
    Cmd::PreviousMatch, On(ScreenId::Logs), [Char('N')], "", "previous warning or error";
    Cmd::SameRequest, On(ScreenId::Logs), [Char('i')], "same request", "only lines of this request";
    Cmd::SameError, On(ScreenId::Logs), [Char('e')], "same error", "only lines with this message";
    Cmd::SameRoute, On(ScreenId::Logs), [Char('t')], "same route", "only lines of this route";
    Cmd::Export, On(ScreenId::Logs), [Char('E')], "", "write the lines to a file in your home";
    Cmd::Logs, On(ScreenId::Overview), [Char('l')], "logs", "logs of this route";
    Cmd::Sort, On(ScreenId::Overview), [Char('s')], "sort", "sort by the next column";
    Cmd::Pause, On(ScreenId::Overview), [Char(' ')], "pause", "hold the charts still";
    Cmd::Logs, On(ScreenId::Routes), [Char('l')], "logs", "logs of this route";
    Cmd::Sort, On(ScreenId::Routes), [Char('s')], "sort", "sort by the next column";
    Cmd::Reverse, On(ScreenId::Routes), [Char('S')], "", "reverse the order";
    Cmd::Logs, On(ScreenId::Access), [Char('l')], "logs", "logs of this consumer";
    Cmd::Next, On(ScreenId::Access), [Key::Tab], "next panel", "next panel";
    Cmd::Previous, On(ScreenId::Access), [Key::BackTab], "", "previous panel";
    Cmd::Undo, On(ScreenId::Runbooks), [Char('U')], "undo", "plan the undo of the selected run";
    Cmd::Stop, On(ScreenId::Runbooks), [Char('c')], "", "ask the selected run to stop at its safe point";
    Cmd::Export, On(ScreenId::Audit), [Char('E')], "", "write the records to a file in your home";
    Cmd::Runbooks, Everywhere, [Char('R')], "runbooks", "runbooks that fit the selection";
    Cmd::Copy, Everywhere, [Char('y')], "copy", "copy the selection to the clipboard";
    Cmd::CopyCommand, Everywhere, [Char('Y')], "copy command", "copy the matching command line";
    Cmd::Back, Everywhere, [Key::Esc], "back", "one step back";
    Cmd::Retry, Everywhere, [Char('r')], "", "try the connection now, read everything anew";
    Cmd::Go(ScreenId::Overview), Everywhere, [Char('1')], "", "to the overview";
    Cmd::Go(ScreenId::Routes), Everywhere, [Char('2')], "", "to the routes";
    Cmd::Go(ScreenId::Logs), Everywhere, [Char('3')], "", "to the logs";
    Cmd::Go(ScreenId::Access), Everywhere, [Char('4')], "", "to consumers, tokens and sessions";
    Cmd::Go(ScreenId::Runbooks), Everywhere, [Char('5')], "", "to runbooks and runs";
    Cmd::Go(ScreenId::Audit), Everywhere, [Char('6')], "", "to the audit trail";
    Cmd::Go(ScreenId::Health), Everywhere, [Char('7')], "", "to health";
    Cmd::Safety, Everywhere, [Char('w')], "", "safety catch: look only, start nothing";
    Cmd::Suspend, Everywhere, [Ctrl('z')], "", "suspend the console";
    Cmd::Quit, Everywhere, [Char('q'), Ctrl('c')], "", "leave the console; never stops a run";
    Cmd::Help, Everywhere, [Char('?')], "help", "keys of this screen";
    Cmd::Palette, Everywhere, [Char(':')], "go to", "go to a screen or runbook by its words";
}

/// Places whose commands apply together.
pub(crate) fn applies(command: &Command, places: &[Place]) -> bool {
    command.place == Everywhere || places.contains(&command.place)
}

/// The command of a key in these places; the more particular place wins.
pub(crate) fn find(places: &[Place], key: Key) -> Option<Cmd> {
    let fits = |command: &&Command| command.keys.contains(&key);
    let particular =
        COMMANDS.iter().filter(fits).find(|command| command.place != Everywhere && applies(command, places));
    particular
        .or_else(|| COMMANDS.iter().filter(fits).find(|command| command.place == Everywhere))
        .map(|c| c.cmd)
}

/// A key as it is written.
pub(crate) fn key_name(key: Key) -> String {
    match key {
        Char(' ') => "Space".to_owned(),
        Char(c) => c.to_string(),
        Ctrl(c) => format!("Ctrl-{}", c.to_ascii_uppercase()),
        Key::BackTab => "Shift-Tab".to_owned(),
        Key::PageUp => "PgUp".to_owned(),
        Key::PageDown => "PgDn".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Places that can be active together with the given one.
    fn together(place: Place) -> Vec<Place> {
        match place {
            Everywhere | Rows => vec![Everywhere, Rows],
            On(_) => vec![Everywhere, Rows, place],
            Plan | Run => vec![Everywhere, place],
        }
    }

    #[test]
    fn keys_are_unique_where_they_apply() {
        for command in COMMANDS {
            for key in command.keys {
                let places = together(command.place);
                let rivals = COMMANDS.iter().filter(|other| other.keys.contains(key));
                let rivals: Vec<_> = rivals.filter(|other| places.contains(&other.place)).collect();
                assert_eq!(rivals.len(), 1, "{} {rivals:?}", key_name(*key));
            }
        }
    }

    fn document() -> String {
        let mut out = String::from(
            "# Keys\n\nMade from `tui/src/commands.rs`; a test compares.\n\n| Where | Key | What |\n|---|---|---|\n",
        );
        for command in COMMANDS {
            let place = match command.place {
                Everywhere => "everywhere".to_owned(),
                Rows => "where there are rows".to_owned(),
                On(id) => id.title().to_owned(),
                Plan => "a plan".to_owned(),
                Run => "a run".to_owned(),
            };
            let keys: Vec<_> = command.keys.iter().map(|key| format!("`{}`", key_name(*key))).collect();
            out.push_str(&format!("| {place} | {} | {} |\n", keys.join(" "), command.words));
        }
        out
    }

    #[test]
    fn the_document_is_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == document(), "docs/keys.md should be:\n{}", document());
    }

    #[test]
    fn every_command_has_words() {
        assert!(COMMANDS.iter().all(|command| !command.words.is_empty() && !command.keys.is_empty()));
        let words: BTreeSet<_> = ScreenId::ALL.iter().map(|id| id.title()).collect();
        assert_eq!(words.len(), ScreenId::ALL.len());
        for id in ScreenId::ALL {
            assert!(COMMANDS.iter().any(|command| command.cmd == Cmd::Go(*id)), "{id:?} has a digit");
        }
    }

    #[test]
    fn the_particular_place_wins() {
        assert_eq!(find(&[On(ScreenId::Logs), Rows], Char('l')), Some(Cmd::Level));
        assert_eq!(find(&[Plan], Char('x')), Some(Cmd::Confirm));
        assert_eq!(find(&[Rows], Char('x')), None);
    }
}
