//! Routes: every route with its traffic; what it is made of beside it.

use crate::canvas::{Canvas, Span, below, beside, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::report;
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::traffic;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, left, right};
use crate::world::World;
use gatehouse_common::ops::entities::Route;
use gatehouse_common::ops::metrics::Traffic;
use ratatui::layout::Rect;

const COLUMNS: [table::Column; 8] = [
    left("ROUTE", 22),
    left("KIND", 7),
    right("REQ/s", 7),
    right("ERR%", 6),
    right("p50", 7),
    right("p99", 7),
    left("STATE", 7),
    left("UPSTREAMS", 18),
];

/// By what the rows are sorted.
const SORTS: [&str; 4] = ["name", "requests", "errors", "p99"];

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    cursor: Cursor,
    filter: Filter,
    sort: usize,
    reverse: bool,
    detail: bool,
}

impl Routes {
    fn rows<'a>(&self, world: &'a World) -> Vec<(&'a Route, Traffic)> {
        let sums = traffic::by_route(world);
        let all = world.routes.as_ref().map(|page| page.items.as_slice()).unwrap_or_default();
        let passes = |route: &&Route| {
            self.filter.passes(&format!("{} {} {}", route.name, route.kind, route.upstreams.join(" ")))
        };
        let with =
            |route: &'a Route| (route, sums.get(&route.id).map(|(_, sum)| sum.clone()).unwrap_or_default());
        let mut rows: Vec<_> = all.iter().filter(passes).map(with).collect();
        rows.sort_by(|(a, left), (b, right)| {
            let share = |sum: &Traffic| sum.errors.saturating_mul(100_000) / sum.requests.max(1);
            let order = match self.sort {
                1 => right.requests.cmp(&left.requests),
                2 => share(right).cmp(&share(left)),
                3 => right.p99_us.cmp(&left.p99_us),
                _ => std::cmp::Ordering::Equal,
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    /// Shows this route alone, opened.
    pub(crate) fn show(&mut self, name: &str) {
        self.filter.set(name);
        self.cursor = Cursor::default();
        self.detail = true;
    }

    fn detail(canvas: &mut Canvas<'_>, area: Rect, route: &Route) {
        let state = if route.active { "active" } else { "off" };
        let inner = canvas.framed(area, &route.name, &format!("{}, {state}", route.kind));
        let guard = if route.protected { "needs a credential" } else { "open to all" };
        let mut row = 0;
        let mut say = |heading: &str, text: &str, role: Role| {
            canvas.spans(inner, row, &[(format!("{heading:<11}"), Role::Dim), (text.to_owned(), role)]);
            row += 1;
        };
        say("id", route.id.as_str(), Role::Text);
        say("access", guard, Role::Text);
        let lists =
            [("upstreams", &route.upstreams), ("policies", &route.policies), ("endpoints", &route.endpoints)];
        for (heading, list) in lists {
            for (index, text) in list.iter().enumerate() {
                say(if index == 0 { heading } else { "" }, text, Role::Text);
            }
            if list.is_empty() {
                say(heading, "none", Role::Dim);
            }
        }
    }
}

impl Screen for Routes {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Routes), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Routes]
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        self.filter.key(key).map(|_| Vec::new())
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        super::line("routes", self.filter.words())
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        let rows = self.rows(world);
        if self.cursor.moved(cmd, rows.len()) {
            return Vec::new();
        }
        let name = rows.get(self.cursor.index(rows.len())).map(|(route, _)| route.name.clone());
        match (cmd, name) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Sort, _) => self.sort = (self.sort + 1) % SORTS.len(),
            (Cmd::Reverse, _) => self.reverse = !self.reverse,
            (Cmd::Back, _) if self.detail => self.detail = false,
            (Cmd::Back, _) => self.filter.set(""),
            (Cmd::Open, Some(_)) => self.detail = !self.detail,
            (Cmd::Logs, Some(name)) => return vec![Act::Logs(format!("route:{name}"))],
            (Cmd::Copy, Some(name)) => return vec![Act::Do(Effect::Copy(name))],
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let rows = self.rows(world);
        let total = world.routes.as_ref().map(|page| page.total);
        let count = total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let sort = SORTS.get(self.sort).copied().unwrap_or_default();
        let order = if self.reverse { ", reversed" } else { "" };
        let head = format!(
            "{} of {count} routes, by {sort}{order}, traffic of the last 60 s   {}",
            rows.len(),
            self.filter.shown()
        );
        canvas.row(area, 0, &head, Role::Dim);
        if let Some(trouble) = world.troubles.get(&Ask::Routes) {
            canvas.right(area, 0, trouble, Role::Bad);
        }
        let selected = rows.get(self.cursor.index(rows.len())).map(|(route, _)| *route);
        let body = below(area, 2);
        let wide = area.width >= 120;
        let (list, detail) = match (wide, self.detail) {
            (true, _) => beside(body, body.width * 3 / 5),
            (false, true) => (top(body, body.height / 2), below(body, body.height / 2)),
            (false, false) => (body, Rect { height: 0, ..body }),
        };
        let (_, length) = traffic::total(world);
        let cells = |(route, sum): &(&Route, Traffic)| -> Vec<Span> {
            let (rate, share) = report::rates(sum, length);
            let bad = if sum.errors > 0 { Role::Bad } else { Role::Text };
            let (state, role) = if route.active { ("active", Role::Good) } else { ("off", Role::Warn) };
            vec![
                (route.name.clone(), Role::Text),
                (route.kind.clone(), Role::Dim),
                (rate, Role::Text),
                (share, bad),
                (report::latency(sum.p50_us), Role::Text),
                (report::latency(sum.p99_us), Role::Text),
                (state.to_owned(), role),
                (route.upstreams.join(" "), Role::Text),
            ]
        };
        let lines: Vec<_> = rows.iter().map(cells).collect();
        table::draw(canvas, list, &COLUMNS, &lines, Some(self.cursor));
        if let Some(route) = selected.filter(|_| detail.height > 2) {
            Self::detail(canvas, detail, route);
        }
    }
}
