//! Access: consumers, their tokens and sessions. Secrets are not here; the daemon does not tell them.

use crate::canvas::{Canvas, Span, below, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, Column, left, right};
use crate::world::World;
use crate::{choices, clock, report};
use ratatui::layout::Rect;

const CONSUMERS: [Column; 6] = [
    left("CONSUMER", 18),
    left("ROLE", 10),
    left("STATE", 6),
    right("KEYS", 4),
    right("SESS", 4),
    left("GROUPS", 16),
];
const TOKENS: [Column; 5] =
    [left("CONSUMER", 18), left("TOKEN", 14), left("STATE", 8), left("EXPIRES", 20), left("NAME", 14)];
const SESSIONS: [Column; 4] =
    [left("CONSUMER", 18), left("SINCE", 20), left("EXPIRES", 20), left("FROM", 16)];

/// The panels, in the order of Tab.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Panel {
    #[default]
    Consumers,
    Tokens,
    Sessions,
}

/// A row: whose it is, what a copy gives, and its cells.
struct Row {
    consumer: String,
    copy: String,
    cells: Vec<Span>,
}

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Access {
    panel: Panel,
    cursors: [Cursor; 3],
    filter: Filter,
}

fn consumers(world: &World) -> Vec<Row> {
    let all = world.consumers.iter().flat_map(|page| &page.items);
    all.map(|one| {
        let (state, role) = if one.active { ("active", Role::Good) } else { ("off", Role::Warn) };
        Row {
            consumer: one.id.0.clone(),
            copy: one.id.0.clone(),
            cells: vec![
                (one.id.0.clone(), Role::Heading),
                (one.role.clone(), Role::Text),
                (state.to_owned(), role),
                (one.keys.to_string(), Role::Text),
                (one.sessions.to_string(), Role::Text),
                (one.groups.join(" "), Role::Dim),
            ],
        }
    })
    .collect()
}

fn tokens(world: &World) -> Vec<Row> {
    let all = world.tokens.iter().flat_map(|page| &page.items);
    all.map(|one| {
        let state = report::token_state(one, world.now_ms);
        let role = if state == "live" { Role::Good } else { Role::Warn };
        let expires = one.expires_unix_ms.map_or_else(|| "never".to_owned(), clock::date_time);
        Row {
            consumer: one.consumer.0.clone(),
            copy: one.id.0.clone(),
            cells: vec![
                (one.consumer.0.clone(), Role::Heading),
                (one.prefix.clone(), Role::Text),
                (state.to_owned(), role),
                (expires, Role::Text),
                (one.name.clone(), Role::Dim),
            ],
        }
    })
    .collect()
}

fn sessions(world: &World) -> Vec<Row> {
    let all = world.sessions.iter().flat_map(|page| &page.items);
    all.map(|one| Row {
        consumer: one.consumer.0.clone(),
        copy: one.id.clone(),
        cells: vec![
            (one.consumer.0.clone(), Role::Heading),
            (clock::date_time(one.created_unix_ms), Role::Text),
            (clock::date_time(one.expires_unix_ms), Role::Text),
            (one.source.clone(), Role::Dim),
        ],
    })
    .collect()
}

impl Access {
    fn rows(&self, world: &World, panel: Panel) -> Vec<Row> {
        let mut rows = match panel {
            Panel::Consumers => consumers(world),
            Panel::Tokens => tokens(world),
            Panel::Sessions => sessions(world),
        };
        rows.retain(|row| {
            let cells: Vec<_> = row.cells.iter().map(|(text, _)| text.as_str()).collect();
            self.filter.passes(&cells.join(" "))
        });
        rows
    }

    fn cursor(&mut self) -> Option<&mut Cursor> {
        self.cursors.get_mut(self.panel as usize)
    }

    fn turn(&mut self, forward: bool) {
        self.panel = match (self.panel, forward) {
            (Panel::Consumers, true) | (Panel::Sessions, false) => Panel::Tokens,
            (Panel::Tokens, true) | (Panel::Consumers, false) => Panel::Sessions,
            (Panel::Sessions, true) | (Panel::Tokens, false) => Panel::Consumers,
        };
    }

    fn panel(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect, panel: Panel) {
        let (name, columns, ask, total): (_, &[Column], _, _) = match panel {
            Panel::Consumers => {
                ("Consumers", &CONSUMERS, Ask::Consumers, world.consumers.as_ref().map(|p| p.total))
            }
            Panel::Tokens => ("Tokens", &TOKENS, Ask::Tokens, world.tokens.as_ref().map(|p| p.total)),
            Panel::Sessions => {
                ("Sessions", &SESSIONS, Ask::Sessions, world.sessions.as_ref().map(|p| p.total))
            }
        };
        let rows = self.rows(world, panel);
        let count = total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let state = world.troubles.get(&ask).cloned().unwrap_or_else(|| format!("{} of {count}", rows.len()));
        let here = panel == self.panel;
        let name = if here { format!("[{name}]") } else { name.to_owned() };
        let inner = canvas.framed(area, &name, &state);
        let cursor = self.cursors.get(panel as usize).copied().filter(|_| here);
        let cells: Vec<_> = rows.into_iter().map(|row| row.cells).collect();
        table::draw(canvas, inner, columns, &cells, cursor);
    }
}

impl Screen for Access {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Access), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Consumers, Ask::Tokens, Ask::Sessions]
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        self.filter.key(key).map(|_| Vec::new())
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        let verb = if self.panel == Panel::Consumers { "consumers" } else { "tokens" };
        super::line(verb, self.filter.words())
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        let rows = self.rows(world, self.panel);
        let count = rows.len();
        if self.cursor().is_some_and(|cursor| cursor.moved(cmd, count)) {
            return Vec::new();
        }
        let index = self.cursor().map_or(0, |cursor| cursor.index(count));
        match (cmd, rows.get(index)) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Next, _) => self.turn(true),
            (Cmd::Previous, _) => self.turn(false),
            (Cmd::Back, _) => self.filter.set(""),
            (Cmd::Open, Some(row)) if self.panel == Panel::Consumers => {
                self.filter.set(&row.consumer);
                self.panel = Panel::Tokens;
            }
            (Cmd::Logs, Some(row)) => return vec![Act::Logs(format!("consumer:{}", row.consumer))],
            (Cmd::Runbooks, Some(row)) => {
                let title = format!("Runbooks for {}", row.consumer);
                return vec![Act::Choose(title, choices::for_consumer(world, &row.consumer))];
            }
            (Cmd::Copy, Some(row)) => return vec![Act::Do(Effect::Copy(row.copy.clone()))],
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        canvas.row(
            Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area },
            0,
            &self.filter.shown(),
            Role::Key,
        );
        let body = if self.filter.shown().is_empty() { area } else { below(area, 1) };
        let panels = [Panel::Consumers, Panel::Tokens, Panel::Sessions];
        if body.height < 15 {
            self.panel(world, canvas, body, self.panel);
            return;
        }
        // The panel in use gets what the others do not need.
        let small = (body.height / 4).max(5);
        let mut rest = body;
        for panel in panels {
            let height = if panel == self.panel { body.height - 2 * small } else { small };
            self.panel(world, canvas, top(rest, height), panel);
            rest = below(rest, height);
        }
    }
}
