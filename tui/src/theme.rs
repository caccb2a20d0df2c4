//! Colour: named roles over three rungs. A colour never stands alone; the word beside it says the same.

use crate::environment::Environment;
use crate::glyphs::Glyphs;
use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Text,
    Dim,
    Heading,
    Good,
    Warn,
    Bad,
    Accent,
    Selected,
    Border,
    Key,
    Chart,
}

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    None,
    Sixteen,
    True,
}

/// How the console looks on this terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) colours: Colours,
    pub(crate) glyphs: Glyphs,
    /// Shortest time between two frames.
    pub(crate) frame_ms: u64,
    /// Frames are sent between DEC 2026 marks.
    pub(crate) synchronised: bool,
}

impl Look {
    /// The rungs this terminal bears.
    pub(crate) fn of(environment: &Environment, ascii: bool) -> Self {
        let bare = matches!(environment.term.as_str(), "dumb" | "linux") || !environment.utf8;
        let colours = match environment.term.as_str() {
            _ if environment.no_color => Colours::None,
            "dumb" | "vt100" | "vt220" => Colours::None,
            _ if environment.true_color => Colours::True,
            _ => Colours::Sixteen,
        };
        Self {
            colours,
            glyphs: Glyphs { ascii: ascii || bare },
            frame_ms: if environment.ssh_connection.is_some() { 100 } else { 33 },
            synchronised: !matches!(environment.term.as_str(), "dumb" | "linux" | "vt100" | "vt220"),
        }
    }

    /// The style of a role.
    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let weight = match role {
            Role::Heading | Role::Key | Role::Bad => plain.add_modifier(Modifier::BOLD),
            Role::Selected => plain.add_modifier(Modifier::REVERSED),
            Role::Dim | Role::Border if self.colours == Colours::None => plain.add_modifier(Modifier::DIM),
            _ => plain,
        };
        match self.colours {
            Colours::None => weight,
            Colours::Sixteen => sixteen(role).map_or(weight, |colour| weight.fg(colour)),
            Colours::True => okabe_ito(role).map_or(weight, |colour| weight.fg(colour)),
        }
    }
}

const fn sixteen(role: Role) -> Option<Color> {
    match role {
        Role::Dim | Role::Border => Some(Color::DarkGray),
        Role::Good => Some(Color::Green),
        Role::Warn => Some(Color::Yellow),
        Role::Bad => Some(Color::Red),
        Role::Accent | Role::Key => Some(Color::Cyan),
        Role::Chart => Some(Color::Blue),
        Role::Text | Role::Heading | Role::Selected => None,
    }
}

/// Colours that people who confuse red and green tell apart.
const fn okabe_ito(role: Role) -> Option<Color> {
    match role {
        Role::Dim | Role::Border => Some(Color::Rgb(128, 128, 128)),
        Role::Good => Some(Color::Rgb(0, 158, 115)),
        Role::Warn => Some(Color::Rgb(230, 159, 0)),
        Role::Bad => Some(Color::Rgb(213, 94, 0)),
        Role::Accent | Role::Key => Some(Color::Rgb(86, 180, 233)),
        Role::Chart => Some(Color::Rgb(0, 114, 178)),
        Role::Text | Role::Heading | Role::Selected => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poor_terminals_get_ascii_and_no_colour() {
        let look = |term: &str, utf8, no_color| {
            Look::of(&Environment { term: term.into(), utf8, no_color, ..Environment::default() }, false)
        };
        assert!(look("linux", true, false).glyphs.ascii && look("xterm", false, false).glyphs.ascii);
        assert!(!look("xterm", true, false).glyphs.ascii);
        assert_eq!(look("xterm", true, true).style(Role::Warn).fg, None);
        assert_eq!(look("dumb", true, false).colours, Colours::None);
    }
}
