//! Audit: who did what, when, with what outcome; and whether the chain holds.

use crate::canvas::{Canvas, Span, below, beside, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, left, right};
use crate::world::World;
use crate::{clock, text};
use gatehouse_common::ops::audit::AuditRecord;
use ratatui::layout::Rect;

const COLUMNS: [table::Column; 6] =
    [right("SEQ", 6), left("TIME", 8), left("OUTCOME", 8), left("WHAT", 20), left("TO", 16), left("WHO", 14)];

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    cursor: Cursor,
    filter: Filter,
    detail: bool,
}

fn records(world: &World) -> &[AuditRecord] {
    world.audit.as_ref().map(|page| page.records.as_slice()).unwrap_or_default()
}

impl Audit {
    fn chain(world: &World) -> (String, Role) {
        match &world.audit {
            None => ("not read yet".to_owned(), Role::Dim),
            Some(page) if page.chain_ok => {
                (format!("[ok] chain verified, {} records", text::grouped(page.total)), Role::Good)
            }
            Some(page) => (
                format!("[XX] CHAIN BROKEN: {}", page.broken.as_deref().unwrap_or("not verified")),
                Role::Bad,
            ),
        }
    }

    /// The record as an object without its own fields first.
    fn detail(canvas: &mut Canvas<'_>, area: Rect, record: &AuditRecord) {
        let entry = &record.entry;
        let inner =
            canvas.framed(area, &format!("record {}", record.seq), &clock::date_time(entry.at_unix_ms));
        let mut facts = vec![
            ("who".to_owned(), format!("{}  from {}", entry.actor, entry.source)),
            ("what".to_owned(), format!("{} {}: {}", entry.action, entry.object, entry.outcome)),
            ("revision".to_owned(), entry.revision.to_string()),
        ];
        match &entry.detail {
            serde_json::Value::Object(map) => facts.extend(map.iter().map(|(name, value)| {
                (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })),
            serde_json::Value::Null => {}
            other => facts.push(("detail".to_owned(), other.to_string())),
        }
        facts.push(("hash".to_owned(), record.hash.clone()));
        facts.push(("previous".to_owned(), record.previous.clone()));
        let mut row = 0;
        for (heading, fact) in facts {
            let heading = text::fit(&heading, 13, canvas.look.glyphs.cut());
            for (index, line) in
                text::wrap(&fact, usize::from(inner.width.saturating_sub(14))).iter().enumerate()
            {
                let heading = if index == 0 { heading.as_str() } else { "" };
                canvas.spans(
                    inner,
                    row,
                    &[(format!("{heading:<14}"), Role::Dim), (line.clone(), Role::Text)],
                );
                row += 1;
            }
        }
    }
}

impl Screen for Audit {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Audit), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Audit(self.filter.words().to_owned())]
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        let applied = self.filter.key(key)?;
        // The daemon filters the whole trail, not the rows that happen to be here.
        Some(if applied {
            self.asks().into_iter().map(|ask| Act::Do(Effect::Fetch(ask))).collect()
        } else {
            Vec::new()
        })
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        super::line("audit", self.filter.words())
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        let rows = records(world);
        if self.cursor.moved(cmd, rows.len()) {
            return Vec::new();
        }
        let record = rows.get(self.cursor.index(rows.len()));
        match (cmd, record) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Back, _) if self.detail => self.detail = false,
            (Cmd::Back, _) => {
                self.filter.set("");
                return self.asks().into_iter().map(|ask| Act::Do(Effect::Fetch(ask))).collect();
            }
            (Cmd::Open, Some(_)) => self.detail = !self.detail,
            (Cmd::Copy, Some(record)) => {
                return vec![Act::Do(Effect::Copy(serde_json::to_string(record).unwrap_or_default()))];
            }
            (Cmd::Export, _) => {
                let lines: Vec<_> =
                    rows.iter().filter_map(|record| serde_json::to_string(record).ok()).collect();
                return vec![Act::Do(Effect::Export(lines.join("\n")))];
            }
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let (chain, role) = Self::chain(world);
        let rows = records(world);
        canvas.spans(
            area,
            0,
            &[(chain, role), (format!("   {} shown   {}", rows.len(), self.filter.shown()), Role::Dim)],
        );
        if let Some(trouble) = world.troubles.iter().find(|(ask, _)| matches!(ask, Ask::Audit(_))) {
            canvas.right(area, 0, trouble.1, Role::Bad);
        }
        let body = below(area, 2);
        let (list, detail) = match (area.width >= 140, self.detail) {
            (true, _) => beside(body, body.width * 3 / 5),
            (false, true) => (top(body, body.height / 3), below(body, body.height / 3)),
            (false, false) => (body, Rect { height: 0, ..body }),
        };
        let line = |record: &AuditRecord| -> Vec<Span> {
            let entry = &record.entry;
            let role = if entry.outcome == "ok" { Role::Good } else { Role::Bad };
            vec![
                (record.seq.to_string(), Role::Dim),
                (clock::time_of_day(entry.at_unix_ms), Role::Text),
                (entry.outcome.clone(), role),
                (entry.action.clone(), Role::Text),
                (entry.object.clone(), Role::Text),
                (entry.actor.clone(), Role::Dim),
            ]
        };
        let lines: Vec<_> = rows.iter().map(line).collect();
        table::draw(canvas, list, &COLUMNS, &lines, Some(self.cursor));
        if let Some(record) = rows.get(self.cursor.index(rows.len())).filter(|_| detail.height > 2) {
            Self::detail(canvas, detail, record);
        }
    }
}
