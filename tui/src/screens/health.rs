//! Health: every check by severity, with its remedy and the runbook that cures it.

use crate::canvas::{Canvas, Span, below, cells, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, left, right};
use crate::world::World;
use crate::{clock, report, text};
use gatehouse_common::health::{HealthItem, Severity};
use ratatui::layout::Rect;
use std::collections::BTreeMap;

const COLUMNS: [table::Column; 4] = [left("STATE", 8), left("CODE", 18), right("FOR", 8), left("WHAT", 40)];

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Health {
    cursor: Cursor,
    filter: Filter,
}

const fn role(severity: Severity) -> Role {
    match severity {
        Severity::Ok => Role::Good,
        Severity::Unknown => Role::Dim,
        Severity::Warning => Role::Warn,
        Severity::Critical => Role::Bad,
    }
}

impl Health {
    fn rows<'a>(&self, world: &'a World) -> Vec<&'a HealthItem> {
        let passes = |item: &&HealthItem| {
            self.filter.passes(&format!("{} {} {}", item.code, item.check, item.summary))
        };
        world.health.iter().filter(passes).collect()
    }

    fn detail(canvas: &mut Canvas<'_>, area: Rect, item: &HealthItem) {
        let inner = canvas.framed(area, &item.code, report::severity(item.severity));
        let mut facts = vec![
            ("what", item.summary.clone()),
            ("check", item.check.clone()),
            ("since", clock::date_time(item.since_unix_ms)),
        ];
        facts.extend(item.remedy.clone().map(|remedy| ("remedy", remedy)));
        if !item.depends_on.is_empty() {
            facts.push(("follows", item.depends_on.join(", ")));
        }
        facts.extend(
            item.runbook
                .clone()
                .map(|id| ("cure", format!("{id}   (R or Enter plans it; nothing is done by that)"))),
        );
        let mut row = 0;
        for (heading, fact) in facts {
            for (index, line) in
                text::wrap(&fact, usize::from(inner.width.saturating_sub(9))).iter().enumerate()
            {
                let heading = if index == 0 { heading } else { "" };
                canvas.spans(inner, row, &[(format!("{heading:<9}"), Role::Dim), (line.clone(), Role::Text)]);
                row += 1;
            }
        }
    }
}

impl Screen for Health {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Health), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Health]
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        self.filter.key(key).map(|_| Vec::new())
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        "health".to_owned()
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        let rows = self.rows(world);
        if self.cursor.moved(cmd, rows.len()) {
            return Vec::new();
        }
        let item = rows.get(self.cursor.index(rows.len())).copied();
        match (cmd, item) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Back, _) => self.filter.set(""),
            (Cmd::Open | Cmd::Runbooks, Some(item)) => {
                return match &item.runbook {
                    Some(id) => vec![Act::Runbook(id.clone(), BTreeMap::new())],
                    None => vec![Act::Say(format!("{}: no runbook cures it", item.code))],
                };
            }
            (Cmd::Copy, Some(item)) => {
                return vec![Act::Do(Effect::Copy(format!("{} {}", item.code, item.summary)))];
            }
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let rows = self.rows(world);
        let bad = world.notices().count();
        canvas.spans(
            area,
            0,
            &[
                (format!("{} checks, ", world.health.len()), Role::Dim),
                (
                    if bad == 0 { "all well".to_owned() } else { format!("! {bad} need attention") },
                    if bad == 0 { Role::Good } else { Role::Warn },
                ),
                (format!("   {}", self.filter.shown()), Role::Dim),
            ],
        );
        if let Some(trouble) = world.troubles.get(&Ask::Health) {
            canvas.right(area, 0, trouble, Role::Bad);
        }
        let body = below(area, 2);
        let list = top(body, body.height.saturating_sub(9).max(3).min(cells(rows.len()).saturating_add(2)));
        let line = |item: &&HealthItem| -> Vec<Span> {
            vec![
                (report::severity(item.severity).to_owned(), role(item.severity)),
                (item.code.clone(), Role::Heading),
                (clock::between(item.since_unix_ms, world.now_ms), Role::Dim),
                (item.summary.clone(), Role::Text),
            ]
        };
        let lines: Vec<_> = rows.iter().map(line).collect();
        table::draw(canvas, list, &COLUMNS, &lines, Some(self.cursor));
        if let Some(item) = rows.get(self.cursor.index(rows.len())) {
            let rest = below(body, list.height);
            Self::detail(canvas, Rect { height: rest.height.min(12), ..rest }, item);
        }
    }
}
