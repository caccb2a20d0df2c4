//! Overview: traffic, the worst routes, and what is not well.

use crate::canvas::{Canvas, Span, below, beside, cells, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::traffic::{self, per_second};
use crate::widgets::chart;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, left, right};
use crate::world::World;
use crate::{clock, report};
use gatehouse_common::ops::metrics::{Traffic, Window};
use gatehouse_common::units;
use ratatui::layout::Rect;

const COLUMNS: [table::Column; 6] = [
    left("ROUTE", 24),
    right("REQ/s", 7),
    right("ERR%", 6),
    right("p50", 7),
    right("p99", 7),
    right("REFUSED/s", 9),
];

/// By what the routes are sorted.
const SORTS: [&str; 3] = ["errors", "p99", "requests"];

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    cursor: Cursor,
    filter: Filter,
    sort: usize,
    /// The charts end here while paused.
    paused_ms: Option<i64>,
}

impl Overview {
    fn rows(&self, world: &World) -> Vec<(String, Traffic)> {
        let mut rows: Vec<_> = traffic::by_route(world).into_values().collect();
        rows.retain(|(name, _)| self.filter.passes(name));
        let share = |sum: &Traffic| sum.errors.saturating_mul(100_000) / sum.requests.max(1);
        rows.sort_by_key(|(name, sum)| {
            let first = match self.sort {
                0 => share(sum),
                1 => sum.p99_us.unwrap_or(0),
                _ => 0,
            };
            (std::cmp::Reverse(first), std::cmp::Reverse(sum.requests), name.clone())
        });
        rows
    }

    fn selected(&self, world: &World) -> Option<String> {
        let rows = self.rows(world);
        rows.get(self.cursor.index(rows.len())).map(|(name, _)| name.clone())
    }

    fn series(&self, world: &World, value: impl Fn(&Window) -> f64) -> Vec<Option<f64>> {
        let mut values = traffic::series(world, value);
        if let Some(until) = self.paused_ms {
            let late = |window: &&Option<Window>| window.as_ref().is_some_and(|w| w.at_unix_ms > until);
            values.truncate(values.len() - world.windows.iter().rev().take_while(late).count());
        }
        values
    }

    fn charts(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(window) = world.window() else {
            canvas.row(area, 0, "no window yet", Role::Dim);
            return;
        };
        let rate = |count: u64| units::rate(per_second(count, window));
        let share = report::rates(&window.total, window.length_ms).1;
        let latency =
            format!("{} / {}", report::latency(window.total.p50_us), report::latency(window.total.p99_us));
        let requests = self.series(world, |w| per_second(w.total.requests, w));
        let peak = requests.iter().flatten().copied().fold(0.0, f64::max);
        let errors = self.series(world, |w| per_second(w.total.errors, w));
        let p99 = self.series(world, |w| w.total.p99_us.unwrap_or(0) as f64);
        let flight = self.series(world, |w| w.in_flight as f64);
        let bad = if window.total.errors > 0 { Role::Bad } else { Role::Good };
        let failed = if window.total.errors > 0 {
            format!("! {}/s", rate(window.total.errors))
        } else {
            "ok".to_owned()
        };
        let max = format!("max {}", report::latency(window.total.max_us));
        let open = format!("{} open", crate::text::grouped(window.connections));
        self.chart(
            canvas,
            area,
            0,
            (
                "Requests",
                &format!("{}/s", rate(window.total.requests)),
                &requests,
                &format!("peak {}/s", units::rate(peak)),
                Role::Text,
            ),
        );
        self.chart(canvas, area, 1, ("Errors", &format!("{share}%"), &errors, &failed, bad));
        self.chart(canvas, area, 2, ("p50 / p99", &latency, &p99, &max, Role::Text));
        self.chart(
            canvas,
            area,
            3,
            ("In flight", &crate::text::grouped(window.in_flight), &flight, &open, Role::Text),
        );
        if area.height > 6 {
            let bytes = |f: fn(&Traffic) -> u64| self.series(world, |w| per_second(f(&w.total), w));
            let shown = |count: u64| format!("{}/s", units::bytes(per_second(count, window) as u64));
            let refused = self.series(world, |w| per_second(w.total.refused, w));
            self.chart(
                canvas,
                area,
                4,
                ("Bytes in", &shown(window.total.bytes_in), &bytes(|t| t.bytes_in), "", Role::Text),
            );
            self.chart(
                canvas,
                area,
                5,
                ("Bytes out", &shown(window.total.bytes_out), &bytes(|t| t.bytes_out), "", Role::Text),
            );
            self.chart(
                canvas,
                area,
                6,
                (
                    "Refused",
                    &format!("{}/s", rate(window.total.refused)),
                    &refused,
                    "by policies",
                    Role::Text,
                ),
            );
        }
    }

    fn chart(
        &self,
        canvas: &mut Canvas<'_>,
        area: Rect,
        row: u16,
        what: (&str, &str, &[Option<f64>], &str, Role),
    ) {
        let (name, now, values, note, role) = what;
        let room = usize::from(area.width).saturating_sub(11 + 14 + 16);
        let chart = chart::spark(values, room, canvas.look.glyphs);
        canvas.spans(
            area,
            row,
            &[
                (format!("{name:<11}"), Role::Dim),
                (format!("{now:>12}  "), Role::Heading),
                (chart, Role::Chart),
            ],
        );
        canvas.right(area, row, note, role);
    }

    fn table(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let (_, length) = traffic::total(world);
        let cells = |(name, sum): &(String, Traffic)| -> Vec<Span> {
            let (rate, share) = report::rates(sum, length);
            let bad = if sum.errors > 0 { Role::Bad } else { Role::Text };
            let refused = units::rate(sum.refused as f64 * 1_000.0 / length.max(1) as f64);
            vec![
                (name.clone(), Role::Text),
                (rate, Role::Text),
                (share, bad),
                (report::latency(sum.p50_us), Role::Text),
                (report::latency(sum.p99_us), Role::Text),
                (refused, Role::Text),
            ]
        };
        let rows: Vec<_> = self.rows(world).iter().map(cells).collect();
        table::draw(canvas, area, &COLUMNS, &rows, Some(self.cursor));
        if rows.is_empty() {
            let why = if self.filter.words().is_empty() {
                "no requests in the last 60 s"
            } else {
                "no route passes the filter"
            };
            canvas.row(below(area, 1), 0, &format!("  {why}"), Role::Dim);
        }
    }

    fn box_lines(world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let window = world.window();
        let backup = match window.map(|w| w.backup_age_secs) {
            Some(Some(secs)) => format!("{} ago", units::span(std::time::Duration::from_secs(secs))),
            Some(None) => "none !".to_owned(),
            None => "?".to_owned(),
        };
        let disk = window
            .and_then(|w| w.disk_free)
            .map_or_else(|| "?".to_owned(), |free| format!("{:.0}% free", free * 100.0));
        let memory = window.map_or_else(|| "?".to_owned(), |w| units::bytes(w.rss_bytes));
        let dropped = window.map_or_else(|| "?".to_owned(), |w| crate::text::grouped(w.dropped));
        canvas.row(
            area,
            0,
            &format!("Backup {backup}     Disk {disk}     Memory {memory}     Records dropped {dropped}"),
            Role::Text,
        );
    }

    fn notices(world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        for (index, item) in world.notices().take(usize::from(area.height)).enumerate() {
            canvas.spans(
                area,
                cells(index),
                &[
                    (format!("! {:<15} ", item.code), Role::Warn),
                    (item.summary.clone(), Role::Text),
                    (format!("  {}", clock::between(item.since_unix_ms, world.now_ms)), Role::Dim),
                ],
            );
        }
        if world.notices().next().is_none() {
            let all = if world.health.is_empty() { "health not read yet" } else { "all checks are well" };
            canvas.row(area, 0, all, Role::Good);
        }
    }

    fn title(&self) -> String {
        let filter = self.filter.shown();
        let sort = SORTS.get(self.sort).copied().unwrap_or_default();
        format!("last 60 s, sorted by {sort}{}{filter}", if filter.is_empty() { "" } else { "   " })
    }

    fn large(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let (left_top, right_top) = beside(top(area, 11), area.width / 2);
        let state = if self.paused_ms.is_some() { "paused" } else { "1 s per column" };
        let inner = canvas.framed(left_top, "Traffic", state);
        self.charts(world, canvas, inner);
        heat(world, canvas, right_top);
        let middle = top(below(area, 11), area.height.saturating_sub(11 + 10));
        let (left_middle, right_middle) = beside(middle, middle.width * 2 / 3);
        let inner = canvas.framed(left_middle, "Routes", &self.title());
        self.table(world, canvas, inner);
        let count = world.notices().count();
        let inner = canvas.framed(
            right_middle,
            "Health",
            &if count > 0 { format!("! {count}") } else { "ok".to_owned() },
        );
        Self::notices(world, canvas, top(inner, inner.height.saturating_sub(5)));
        let lower = below(inner, inner.height.saturating_sub(4));
        Self::box_lines(world, canvas, lower);
        let runs = below(area, area.height.saturating_sub(10));
        let inner = canvas.framed(runs, "Runs", "newest first");
        for (index, run) in world.runs.iter().take(usize::from(inner.height)).enumerate() {
            let role = crate::screens::runbooks::role(run.state);
            canvas.spans(
                inner,
                cells(index),
                &[
                    (format!("{}  ", clock::date_time(run.started_unix_ms)), Role::Dim),
                    (format!("{:<20} {:<11} ", run.runbook, report::run_state(run.state)), role),
                    (format!("{}   by {}", run.summary, run.actor), Role::Text),
                ],
            );
        }
    }
}

fn heat(world: &World, canvas: &mut Canvas<'_>, area: Rect) {
    let inner = canvas.framed(area, "Latency heat", "1 s per column");
    let rows = usize::from(inner.height.saturating_sub(1));
    for (index, (bound, shares)) in traffic::heat(world, rows).into_iter().take(rows).enumerate() {
        let room = usize::from(inner.width.saturating_sub(9));
        let line = chart::heat_row(&shares, room, canvas.look.glyphs);
        let name = if bound == u64::MAX { "more".to_owned() } else { units::latency(bound) };
        canvas.spans(inner, cells(index), &[(format!("{name:>7}  "), Role::Dim), (line, Role::Chart)]);
    }
    let total = world.window().map(|window| &window.total);
    let of = |f: fn(&Traffic) -> Option<u64>| report::latency(total.and_then(f));
    let line = format!(
        "p50 {}   p90 {}   p99 {}   max {}",
        of(|t| t.p50_us),
        of(|t| t.p90_us),
        of(|t| t.p99_us),
        of(|t| t.max_us)
    );
    canvas.row(inner, inner.height.saturating_sub(1), &line, Role::Text);
}

impl Screen for Overview {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Overview), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Runs]
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        self.filter.key(key).map(|_| Vec::new())
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        "status".to_owned()
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        if self.cursor.moved(cmd, self.rows(world).len()) {
            return Vec::new();
        }
        let selected = self.selected(world);
        match (cmd, selected) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Sort, _) => self.sort = (self.sort + 1) % SORTS.len(),
            (Cmd::Pause, _) => {
                self.paused_ms = if self.paused_ms.is_some() { None } else { Some(world.now_ms) }
            }
            (Cmd::Back, _) => self.filter.set(""),
            (Cmd::Open, Some(name)) => return vec![Act::Route(name)],
            (Cmd::Logs, Some(name)) => return vec![Act::Logs(format!("route:{name}"))],
            (Cmd::Copy, Some(name)) => return vec![Act::Do(Effect::Copy(name))],
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        if area.width >= 150 && area.height >= 38 {
            self.large(world, canvas, area);
            return;
        }
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        // The charts go first where rows are few; notices never go.
        let charts = if area.height >= 14 { 5 } else { 2 };
        self.charts(world, canvas, top(area, charts - 1));
        let rest = below(area, charts);
        canvas.row(rest, 0, &format!("Routes, {}", self.title()), Role::Dim);
        let foot = 5.min(rest.height / 2);
        self.table(world, canvas, top(below(rest, 1), rest.height.saturating_sub(foot + 2)));
        let foot = below(rest, rest.height.saturating_sub(foot));
        Self::box_lines(world, canvas, foot);
        Self::notices(world, canvas, below(foot, 2));
        if self.paused_ms.is_some() {
            canvas.right(foot, 0, "paused", Role::Warn);
        }
    }
}
