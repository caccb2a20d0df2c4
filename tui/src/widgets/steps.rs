//! A run's page: its steps, its output, its verdict. The run is the daemon's; this only watches.

use crate::canvas::{Canvas, below, cells, top};
use crate::theme::Role;
use crate::{clock, report};
use gatehouse_common::ids::RunId;
use gatehouse_common::runbook::{Plan, RunEvent, RunEventKind, RunState, StepState};
use ratatui::layout::Rect;
use std::collections::{BTreeMap, VecDeque};

/// Lines of output kept.
const OUTPUT_LINES: usize = 2_000;

/// What is known of a step.
#[derive(Debug, Clone)]
struct StepSeen {
    name: String,
    state: StepState,
    detail: String,
    began_ms: i64,
    ended_ms: Option<i64>,
}

/// A run being watched.
#[derive(Debug, Clone)]
pub(crate) struct RunPage {
    pub(crate) id: RunId,
    pub(crate) title: String,
    pub(crate) plan: Option<Plan>,
    pub(crate) finished: Option<(RunState, String)>,
    pub(crate) paused: bool,
    pub(crate) note: String,
    actor: String,
    reason: Option<String>,
    began_ms: Option<i64>,
    last_ms: i64,
    steps: BTreeMap<usize, StepSeen>,
    verified: Option<(bool, String)>,
    output: VecDeque<(i64, String)>,
    /// Lines that came since the pause.
    waiting: usize,
    next_seq: u64,
    lost: u64,
}

impl RunPage {
    pub(crate) const fn of(id: RunId, title: String) -> Self {
        Self {
            id,
            title,
            plan: None,
            finished: None,
            paused: false,
            note: String::new(),
            actor: String::new(),
            reason: None,
            began_ms: None,
            last_ms: 0,
            steps: BTreeMap::new(),
            verified: None,
            output: VecDeque::new(),
            waiting: 0,
            next_seq: 0,
            lost: 0,
        }
    }

    /// Takes an event; one seen before, after a reconnect, changes nothing.
    pub(crate) fn event(&mut self, event: &RunEvent) {
        if event.run != self.id || event.seq < self.next_seq {
            return;
        }
        self.lost += event.seq - self.next_seq;
        self.next_seq = event.seq.saturating_add(1);
        self.last_ms = event.at_unix_ms;
        let at = event.at_unix_ms;
        match &event.kind {
            RunEventKind::Started { plan, actor, reason } => {
                self.title.clone_from(&plan.title);
                self.plan = Some((**plan).clone());
                self.actor.clone_from(actor);
                self.reason.clone_from(reason);
                self.began_ms = Some(at);
            }
            RunEventKind::Step { index, name, state, detail } => {
                let began = self.steps.get(index).map_or(at, |seen| seen.began_ms);
                let ended = (*state != StepState::Running).then_some(at);
                let seen = StepSeen {
                    name: name.clone(),
                    state: *state,
                    detail: detail.clone(),
                    began_ms: began,
                    ended_ms: ended,
                };
                self.steps.insert(*index, seen);
            }
            RunEventKind::Output { text } => self.say(at, text.clone()),
            RunEventKind::StopAsked { actor } => self.say(at, format!("stop asked for by {actor}")),
            RunEventKind::Undoing { why, .. } => self.say(at, format!("undoing: {why}")),
            RunEventKind::Verified { ok, detail } => self.verified = Some((*ok, detail.clone())),
            RunEventKind::Finished { state, summary } => self.finished = Some((*state, summary.clone())),
        }
    }

    fn say(&mut self, at: i64, text: String) {
        if self.output.len() >= OUTPUT_LINES {
            self.output.pop_front();
        }
        self.output.push_back((at, text));
        self.waiting += usize::from(self.paused);
    }

    /// Holds the output still, or lets it go on.
    pub(crate) fn pause(&mut self) {
        self.paused = !self.paused;
        self.waiting = 0;
    }

    fn header(&self, now_ms: i64) -> String {
        let count = self.plan.as_ref().map_or(self.steps.len(), |plan| plan.steps.len());
        let now = self.steps.keys().next_back().map_or(0, |index| index + 1);
        let until = if self.finished.is_some() { self.last_ms } else { now_ms };
        let took = self.began_ms.map(|began| clock::between(began, until)).unwrap_or_default();
        format!("step {now} of {count}   {took}")
    }

    /// Draws the page.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, now_ms: i64) {
        let planned = self.plan.as_ref().map_or(0, |plan| plan.steps.len());
        let count = planned.max(self.steps.keys().next_back().map_or(0, |index| index + 1)).min(30);
        let wanted = cells(count).saturating_add(8);
        let upper = top(area, wanted.min(area.height.saturating_sub(4)));
        let title = format!("{}  run {}", self.title, self.id);
        let inner = canvas.framed(upper, &title, &self.header(now_ms));
        for index in 0..count {
            self.step(canvas, inner, index, now_ms);
        }
        let mut row = cells(count);
        let (text, role) = match &self.verified {
            None => ("verify   waits".to_owned(), Role::Dim),
            Some((true, detail)) => (format!("verify   ok        {detail}"), Role::Good),
            Some((false, detail)) => (format!("verify   FAILED    {detail}"), Role::Bad),
        };
        canvas.row(inner, row, &format!("     {text}"), role);
        let done = self.steps.values().filter(|seen| seen.state == StepState::Done).count();
        let share = done as f64 / count.max(1) as f64;
        let meter = crate::widgets::chart::meter(share, 40, canvas.look.glyphs);
        canvas.row(inner, row + 1, &format!("     {meter} {done} of {count} done"), Role::Chart);
        row += 2;
        let reason =
            self.reason.as_ref().map(|reason| format!("      reason   {reason}")).unwrap_or_default();
        let asked = if self.actor.is_empty() { "?" } else { &self.actor };
        canvas.row(inner, row, &format!("asked by   {asked}{reason}"), Role::Dim);
        canvas.row(
            inner,
            row + 1,
            "runs in    the daemon: closing this console or losing SSH does not stop it",
            Role::Dim,
        );
        let (verdict, role) = self.verdict();
        canvas.row(inner, row + 2, &verdict, role);
        self.output(canvas, below(area, upper.height));
    }

    fn verdict(&self) -> (String, Role) {
        match &self.finished {
            Some((RunState::Done, summary)) => (format!("verdict    done: {summary}"), Role::Good),
            Some((state, summary)) => {
                (format!("verdict    {}: {summary}", report::run_state(*state)), Role::Bad)
            }
            None if !self.note.is_empty() => (self.note.clone(), Role::Warn),
            None => ("stop       c asks to stop at the next safe point".to_owned(), Role::Dim),
        }
    }

    fn step(&self, canvas: &mut Canvas<'_>, area: Rect, index: usize, now_ms: i64) {
        let planned = self.plan.as_ref().and_then(|plan| plan.steps.get(index));
        let seen = self.steps.get(&index);
        let name = planned
            .map(|step| step.effect.as_str())
            .or_else(|| seen.map(|seen| seen.name.as_str()))
            .unwrap_or("?");
        let (word, role) = match seen.map(|seen| seen.state) {
            None if self.finished.is_some() => ("not done", Role::Dim),
            None => ("waits", Role::Dim),
            Some(state @ StepState::Running) => (report::step_state(state), Role::Accent),
            Some(state @ StepState::Done) => (report::step_state(state), Role::Good),
            Some(state @ StepState::Undone) => (report::step_state(state), Role::Warn),
            Some(state) => (report::step_state(state), Role::Bad),
        };
        let took = seen
            .map(|seen| clock::between(seen.began_ms, seen.ended_ms.unwrap_or(now_ms)))
            .unwrap_or_default();
        let running = seen.is_some_and(|seen| seen.state == StepState::Running) && self.finished.is_none();
        let detail = match (seen, planned) {
            (Some(seen), _) if !seen.detail.is_empty() => seen.detail.clone(),
            (None, Some(step)) => step.undo.as_ref().map(|undo| format!("undo: {undo}")).unwrap_or_default(),
            _ => String::new(),
        };
        let wide = usize::from(area.width / 2).clamp(16, 48);
        let name = crate::text::fit(name, wide, canvas.look.glyphs.cut());
        let pad = " ".repeat(wide.saturating_sub(crate::text::width(&name)));
        canvas.spans(
            area,
            cells(index),
            &[
                (if running { "> " } else { "  " }.to_owned(), Role::Key),
                (format!("{:>2} {name}{pad} ", index + 1), Role::Text),
                (format!("{word:<11} "), role),
                (format!("{took:>7}  "), Role::Dim),
                (detail, Role::Text),
            ],
        );
    }

    fn output(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let state = match (self.paused, self.lost) {
            (true, _) => format!("paused, {} lines wait", self.waiting),
            (false, 0) => "following".to_owned(),
            (false, lost) => format!("following, {lost} events lost"),
        };
        let inner = canvas.framed(area, "Output", &state);
        let height = usize::from(inner.height);
        let end = self.output.len().saturating_sub(self.waiting);
        let first = end.saturating_sub(height);
        for (index, (at, text)) in self.output.iter().take(end).skip(first).enumerate() {
            canvas.spans(
                inner,
                cells(index),
                &[(format!("{}  ", clock::time_with_millis(*at)), Role::Dim), (text.clone(), Role::Text)],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_seen_again_changes_nothing() {
        let mut page = RunPage::of("r1".into(), String::new());
        let event = |seq, text: &str| RunEvent {
            run: "r1".into(),
            seq,
            at_unix_ms: 5,
            kind: RunEventKind::Output { text: text.into() },
        };
        for (seq, text) in [(0, "a"), (1, "b"), (0, "a"), (1, "b"), (4, "e")] {
            page.event(&event(seq, text));
        }
        assert_eq!((page.output.len(), page.lost), (3, 2));
    }
}
