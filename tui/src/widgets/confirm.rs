//! The confirmation line: nothing irreversible by reflex.
//!
//! Every key but Esc and Tab is text, a paste is refused, and keys that came before the line was on the
//! screen are thrown away. An empty line starts nothing, but for plans of the safe tier.

use crate::canvas::{Canvas, cells};
use crate::event::Key;
use crate::theme::Role;
use crate::widgets::input::Line;
use gatehouse_common::runbook::{Plan, Tier};
use ratatui::layout::Rect;

/// What is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reason,
    Word,
}

/// What a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Still typing.
    Open,
    /// Back to the plan, what was typed is kept.
    Aside,
    /// Left, nothing done.
    Left,
    /// The word was typed.
    Confirmed { word: Option<String>, reason: Option<String> },
}

/// A confirmation under way.
#[derive(Debug, Clone)]
pub(crate) struct Confirm {
    tier: Tier,
    word: String,
    stage: Stage,
    reason: Line,
    typed: Line,
    note: String,
    drawn: bool,
    /// Keys go here; false while the operator looks at the plan.
    pub(crate) focused: bool,
}

impl Confirm {
    /// Asks for what this plan needs; a reason that was typed before a restart is there again, the word never.
    pub(crate) fn of(plan: &Plan, reason: &str) -> Self {
        let word = match (plan.tier, plan.confirm_word.as_str()) {
            (Tier::Yes, "") => "yes".to_owned(),
            (_, word) => word.to_owned(),
        };
        let stage = if plan.tier == Tier::Safe { Stage::Word } else { Stage::Reason };
        let (reason, typed) = (Line::of(reason), Line::default());
        Self { tier: plan.tier, word, stage, reason, typed, note: String::new(), drawn: false, focused: true }
    }

    /// The reason as far as it is typed.
    pub(crate) fn reason(&self) -> &str {
        self.reason.text()
    }

    /// It is on the screen now; keys count from here.
    pub(crate) fn drawn(&mut self) {
        self.drawn = true;
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key) -> Outcome {
        if !self.drawn {
            return Outcome::Open;
        }
        self.note.clear();
        match (key, self.stage) {
            (Key::Esc | Key::Ctrl('c'), _) => Outcome::Left,
            (Key::Tab, _) => {
                self.focused = false;
                Outcome::Aside
            }
            (Key::Enter, Stage::Reason) => {
                if self.tier == Tier::NameReason && self.reason.text().trim().is_empty() {
                    "this plan needs a reason; it is kept in the audit record".clone_into(&mut self.note);
                } else {
                    self.stage = Stage::Word;
                }
                Outcome::Open
            }
            (Key::Enter, Stage::Word) => self.enter(),
            (key, Stage::Reason) => {
                self.reason.key(key);
                Outcome::Open
            }
            (key, Stage::Word) => {
                self.typed.key(key);
                Outcome::Open
            }
        }
    }

    fn enter(&mut self) -> Outcome {
        let typed = self.typed.text().trim();
        let right = match self.tier {
            Tier::Safe => typed.is_empty(),
            Tier::Yes | Tier::Name | Tier::NameReason => !self.word.is_empty() && typed == self.word,
        };
        if right {
            let reason = Some(self.reason.text().trim().to_owned()).filter(|reason| !reason.is_empty());
            let word = Some(self.word.clone()).filter(|_| self.tier != Tier::Safe);
            return Outcome::Confirmed { word, reason };
        }
        self.note = match (self.tier, typed.is_empty()) {
            (Tier::Safe, _) => "Enter alone runs this plan; nothing done".to_owned(),
            (_, true) => "Enter alone starts nothing".to_owned(),
            (_, false) => format!("that is not {}; nothing done", self.word),
        };
        self.typed = Line::default();
        Outcome::Open
    }

    /// A pasted newline is not a decision.
    pub(crate) fn paste(&mut self) {
        "pasted text is refused here; type it".clone_into(&mut self.note);
    }

    /// Rows it takes.
    pub(crate) const fn height(&self) -> u16 {
        3
    }

    /// Draws its lines.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let shown = |line: &Line, here: bool| {
            if here && self.focused { line.shown() } else { line.text().to_owned() }
        };
        if self.tier == Tier::Safe {
            let line = format!("Enter runs this plan, Esc leaves:  {}", shown(&self.typed, true));
            canvas.row(area, 0, &line, Role::Key);
        } else {
            let must = if self.tier == Tier::NameReason {
                "Reason, kept in the audit record:"
            } else {
                "Reason, if you like, kept in the record:"
            };
            let word = format!("Type {} to run this plan:", self.word);
            let wide = must.len().max(crate::text::width(&word)) + 2;
            let mut line = |row, label: &str, line: &Line, here: bool| {
                let role = if here { Role::Key } else { Role::Dim };
                let x = canvas.spans(area, row, &[(format!("{label:<wide$}"), role)]);
                let room = area.right().saturating_sub(x);
                // The end of a long line is what is being typed.
                let text = shown(line, here);
                let skip = crate::text::width(&text).saturating_sub(usize::from(room));
                let tail: String = text.chars().skip(skip).collect();
                canvas.text((x, area.y + row), room, &tail, if here { Role::Heading } else { Role::Text });
            };
            line(0, must, &self.reason, self.stage == Stage::Reason);
            line(1, &word, &self.typed, self.stage == Stage::Word);
        }
        canvas.row(area, cells(2), &self.note, Role::Warn);
    }
}
