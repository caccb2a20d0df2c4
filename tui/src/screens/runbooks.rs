//! Runbooks: the list with its runs, and the pages from parameters to verdict.

use crate::canvas::{Canvas, Span, below, beside, cells, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key};
use crate::flow::{self, Flow, Page};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::world::World;
use crate::{clock, report, text};
use gatehouse_common::ops::runs::RunSummary;
use gatehouse_common::runbook::{RunState, RunbookSpec};
use ratatui::layout::Rect;
use std::collections::BTreeMap;

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Runbooks {
    pub(crate) flow: Flow,
    cursor: Cursor,
    filter: Filter,
}

/// A run's state as a colour; the word stands beside it.
pub(crate) const fn role(state: RunState) -> Role {
    match state {
        RunState::Running | RunState::Stopping => Role::Accent,
        RunState::Done => Role::Good,
        RunState::Stopped | RunState::Undone => Role::Warn,
        RunState::Unverified | RunState::Failed => Role::Bad,
    }
}

/// A line of the list that can be selected.
#[derive(Debug, Clone, Copy)]
enum Row<'a> {
    Spec(&'a RunbookSpec),
    Run(&'a RunSummary),
}

impl Runbooks {
    /// Runbooks by group in the daemon's order, then runs, newest first.
    fn rows<'a>(&self, world: &'a World) -> Vec<Row<'a>> {
        let mut groups: Vec<&str> = Vec::new();
        for spec in world.runbooks() {
            if !groups.contains(&spec.group.as_str()) {
                groups.push(&spec.group);
            }
        }
        let passes =
            |spec: &&RunbookSpec| self.filter.passes(&format!("{} {} {}", spec.id, spec.title, spec.group));
        let grouped = groups
            .into_iter()
            .flat_map(|group| world.runbooks().iter().filter(move |spec| spec.group == group));
        let runs = world
            .runs
            .iter()
            .filter(|run| self.filter.passes(&format!("{} {} {}", run.runbook, run.title, run.actor)));
        grouped.filter(passes).map(Row::Spec).chain(runs.map(Row::Run)).collect()
    }

    fn last_run<'a>(world: &'a World, id: &str) -> Option<&'a RunSummary> {
        world.runs.iter().find(|run| run.runbook == id)
    }

    /// The list as lines, each with the row it stands for.
    fn lines(&self, world: &World, wide: bool) -> Vec<(Option<usize>, Vec<Span>)> {
        let mut lines: Vec<(Option<usize>, Vec<Span>)> = Vec::new();
        let mut group = String::new();
        for (index, row) in self.rows(world).into_iter().enumerate() {
            let (heading, spans) = match row {
                Row::Spec(spec) => {
                    let last = Self::last_run(world, &spec.id);
                    let last = last.map(|run| {
                        format!(
                            "{} {} ago",
                            report::run_state(run.state),
                            clock::between(run.started_unix_ms, world.now_ms)
                        )
                    });
                    let title = if wide {
                        format!("{:<34} ", text::fit(&spec.title, 34, "~"))
                    } else {
                        String::new()
                    };
                    let spans = vec![
                        (format!("{:<24} ", spec.id), Role::Text),
                        (title, Role::Dim),
                        (format!("{:<13} ", spec.tier.words()), Role::Accent),
                        (last.unwrap_or_default(), Role::Dim),
                    ];
                    (spec.group.as_str(), spans)
                }
                Row::Run(run) => {
                    let spans = vec![
                        (format!("{}  ", clock::time_of_day(run.started_unix_ms)), Role::Dim),
                        (format!("{:<20} ", run.runbook), Role::Text),
                        (format!("{:<11} ", report::run_state(run.state)), role(run.state)),
                        (run.summary.clone(), Role::Dim),
                    ];
                    ("Runs", spans)
                }
            };
            if heading != group {
                heading.clone_into(&mut group);
                lines.push((None, vec![(heading.to_owned(), Role::Heading)]));
            }
            lines.push((Some(index), spans));
        }
        lines
    }

    fn list(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let title = if self.filter.shown().is_empty() { "/ filter".to_owned() } else { self.filter.shown() };
        let inner = canvas.framed(area, "Runbooks", &title);
        let lines = self.lines(world, inner.width >= 90);
        let count = self.rows(world).len();
        let selected = self.cursor.index(count);
        let about = 3.min(inner.height / 4);
        let list = top(inner, inner.height - about);
        let at = lines.iter().position(|(row, _)| *row == Some(selected)).unwrap_or(0);
        let height = usize::from(list.height);
        let first = Cursor::at(at).first_seen(lines.len(), height);
        for (index, (row, spans)) in lines.into_iter().enumerate().skip(first).take(height) {
            let line = cells(index - first);
            let here = row == Some(selected);
            let mark = match row {
                None => "",
                Some(_) if here => "> ",
                Some(_) => "  ",
            };
            let mut all = vec![(mark.to_owned(), Role::Key)];
            all.extend(spans);
            canvas.spans(list, line, &all);
            if here {
                canvas.paint(list, line, Role::Selected);
            }
        }
        let words = match (self.rows(world).get(selected), world.may_operate()) {
            (Some(Row::Spec(spec)), Ok(())) => spec.about.clone(),
            (Some(Row::Spec(spec)), Err(why)) => {
                format!("{}: may be planned; to run it {why}. {}", spec.id, spec.about)
            }
            (Some(Row::Run(run)), _) => format!("{} by {}: {}", run.title, run.actor, run.summary),
            (None, _) => "no runbooks known yet".to_owned(),
        };
        let foot = below(inner, inner.height - about);
        for (index, line) in
            text::wrap(&words, usize::from(foot.width)).iter().take(usize::from(about)).enumerate()
        {
            canvas.row(foot, cells(index), line, Role::Dim);
        }
    }

    /// What the selected runbook is and how it went, beside the list.
    fn about(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let rows = self.rows(world);
        let Some(Row::Spec(spec)) = rows.get(self.cursor.index(rows.len())) else { return };
        let inner = canvas.framed(top(area, 24), &spec.title, spec.tier.words());
        let mut lines: Vec<(String, Role)> = text::wrap(&spec.about, usize::from(inner.width))
            .into_iter()
            .map(|line| (line, Role::Text))
            .collect();
        lines.push((String::new(), Role::Dim));
        for param in &spec.params {
            let must = if param.required { "" } else { " (may be left out)" };
            lines.push((format!("--{}   {}{must}", param.name, param.help), Role::Accent));
        }
        lines.extend(spec.exclusive.iter().map(|what| (format!("one run at a time: {what}"), Role::Dim)));
        lines.push((String::new(), Role::Dim));
        for run in world.runs.iter().filter(|run| run.runbook == spec.id).take(8) {
            let line = format!(
                "{}  {:<11} {}   by {}",
                clock::date_time(run.started_unix_ms),
                report::run_state(run.state),
                run.summary,
                run.actor
            );
            lines.push((line, role(run.state)));
        }
        lines.push((
            "Enter asks for its parameters and plans it; nothing is done by that".to_owned(),
            Role::Dim,
        ));
        for (index, (line, role)) in lines.iter().enumerate() {
            canvas.row(inner, cells(index), line, *role);
        }
    }

    fn open(&mut self, world: &World) -> Vec<Act> {
        let rows = self.rows(world);
        match rows.get(self.cursor.index(rows.len())) {
            Some(Row::Spec(spec)) => self.flow.begin(world, &spec.id.clone(), BTreeMap::new()),
            Some(Row::Run(run)) => self.flow.watch(run.id.clone(), run.title.clone()),
            None => Vec::new(),
        }
    }
}

impl Screen for Runbooks {
    fn places(&self) -> Vec<Place> {
        match &self.flow.page {
            Page::List => vec![Place::On(ScreenId::Runbooks), Place::Rows],
            Page::Plan(_) => vec![Place::Plan],
            Page::Run(_) => vec![Place::Run],
            Page::Asking(_) | Page::Waiting(_) => Vec::new(),
        }
    }

    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Runs, Ask::Consumers, Ask::Backups]
    }

    fn typed(&mut self, world: &World, key: Key) -> Option<Vec<Act>> {
        self.flow.typed(world, key).or_else(|| self.filter.key(key).map(|_| Vec::new()))
    }

    fn paste(&mut self, text: &str) {
        self.flow.paste(text);
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        "runs".to_owned()
    }

    fn act(&mut self, world: &World, cmd: Cmd) -> Vec<Act> {
        if let Some(acts) = self.flow.act(world, cmd) {
            return acts;
        }
        let rows = self.rows(world);
        if self.cursor.moved(cmd, rows.len()) {
            return Vec::new();
        }
        let row = rows.get(self.cursor.index(rows.len())).copied();
        match (cmd, row) {
            (Cmd::Filter, _) => self.filter.open(),
            (Cmd::Back, _) => self.filter.set(""),
            (Cmd::Open, _) => return self.open(world),
            (Cmd::Undo, Some(Row::Run(run))) if run.can_undo => return self.flow.undo(run.id.clone()),
            (Cmd::Undo, Some(Row::Run(_))) => return vec![Act::Say("no undo for this run".to_owned())],
            (Cmd::Stop, Some(Row::Run(run))) if !run.state.is_final() => {
                return vec![Act::Do(Effect::Stop(run.id.clone()))];
            }
            (Cmd::Copy, Some(Row::Run(run))) => return vec![Act::Do(Effect::Copy(run.id.0.clone()))],
            (Cmd::Copy | Cmd::CopyCommand, Some(Row::Spec(spec))) => {
                return vec![Act::Do(Effect::Copy(format!("gatehouse plan {}", spec.id)))];
            }
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let page = if area.width >= 150 {
            let (left, right) = beside(area, 54);
            self.list(world, canvas, left);
            right
        } else {
            area
        };
        match &self.flow.page {
            Page::List if area.width >= 150 => self.about(world, canvas, page),
            Page::List => self.list(world, canvas, page),
            Page::Asking(asking) => asking.draw(canvas, page, &flow::names(world)),
            Page::Waiting(what) => canvas.row(page, 1, &format!("  {what}"), Role::Accent),
            Page::Plan(plan) => plan.draw(canvas, page, world.now_ms, world.may_operate()),
            Page::Run(run) => run.draw(canvas, page, world.now_ms),
        }
    }
}
