//! A plan's page: what was examined, what would be done, and the line that starts exactly that.

use crate::canvas::{Canvas, Span, cells, top};
use crate::theme::Role;
use crate::widgets::confirm::Confirm;
use crate::{clock, report, text};
use gatehouse_common::runbook::{Plan, Verdict};
use ratatui::layout::Rect;

/// Width of the headings at the left.
const HEADINGS: usize = 9;

/// A plan being looked at.
#[derive(Debug, Clone)]
pub(crate) struct PlanPage {
    pub(crate) plan: Plan,
    pub(crate) confirm: Option<Confirm>,
    /// The last thing to know: why it was planned anew, what the daemon said.
    pub(crate) note: String,
    /// Why it cannot be started any more.
    pub(crate) void: Option<String>,
    pub(crate) first: usize,
}

impl PlanPage {
    pub(crate) fn of(plan: Plan, note: String) -> Self {
        Self { plan, confirm: None, note, void: None, first: 0 }
    }

    /// Whether the confirmation takes the keys.
    pub(crate) fn typing(&self) -> bool {
        self.confirm.as_ref().is_some_and(|confirm| confirm.focused)
    }

    /// Whether it may still be started.
    ///
    /// # Errors
    /// The reason why not.
    pub(crate) fn startable(&self, now_ms: i64) -> Result<(), String> {
        if let Some(reason) = &self.void {
            return Err(reason.clone());
        }
        if self.plan.blocked() {
            return Err("blocked: cure the [XX] findings first".to_owned());
        }
        if now_ms >= self.plan.valid_until_unix_ms {
            return Err("expired: r plans it anew".to_owned());
        }
        Ok(())
    }

    fn validity(&self, now_ms: i64) -> String {
        let digest = self.plan.digest.as_bytes();
        let groups: Vec<_> =
            digest.chunks(4).take(2).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        let left = self.plan.valid_until_unix_ms.saturating_sub(now_ms);
        let state = match &self.void {
            Some(_) => "void".to_owned(),
            None if self.plan.blocked() => "blocked".to_owned(),
            None if left <= 0 => "expired".to_owned(),
            None => format!("valid {}", clock::between(now_ms, self.plan.valid_until_unix_ms)),
        };
        format!("plan {}, {state}", groups.join(" "))
    }

    /// Every line of the plan, broken to so many cells.
    fn lines(&self, wide: usize) -> Vec<Vec<Span>> {
        let mut out = Vec::new();
        let room = wide.saturating_sub(HEADINGS).max(10);
        let mut fact = |heading: &str, text: &str, role: Role| {
            for (index, line) in text::wrap(text, room).into_iter().enumerate() {
                let heading = if index == 0 { heading } else { "" };
                out.push(vec![(format!("{heading:<HEADINGS$}"), Role::Dim), (line, role)]);
            }
        };
        let once = |index: usize, heading: &'static str| if index == 0 { heading } else { "" };
        for (index, finding) in self.plan.findings.iter().enumerate() {
            let role = match finding.verdict {
                Verdict::Ok => Role::Good,
                Verdict::Warn => Role::Warn,
                Verdict::Block => Role::Bad,
            };
            fact(
                once(index, "checks"),
                &format!("{} {}", report::verdict(finding.verdict), finding.text),
                role,
            );
            if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.verdict != Verdict::Ok) {
                fact("", &format!("     {remedy}"), Role::Dim);
            }
        }
        for (index, step) in self.plan.steps.iter().enumerate() {
            let time = step
                .expected_ms
                .map(|ms| format!("  ~{}", clock::between(0, i64::try_from(ms).unwrap_or(0))));
            let undo =
                step.undo.as_ref().map_or_else(|| "no undo".to_owned(), |undo| format!("undo: {undo}"));
            let line = format!("{} {}{}   {undo}", index + 1, step.effect, time.unwrap_or_default());
            fact(once(index, "does"), &line, Role::Text);
        }
        for (index, change) in self.plan.changes.iter().enumerate() {
            fact(once(index, "changes"), change, Role::Text);
        }
        for (index, probe) in self.plan.verify.iter().enumerate() {
            fact(once(index, "verifies"), probe, Role::Text);
        }
        if !self.plan.risks.is_empty() {
            let names: Vec<_> = self.plan.risks.iter().map(|risk| report::risk_name(*risk)).collect();
            fact("risks", &format!("! {} (confirming accepts it)", names.join(", ")), Role::Warn);
        }
        fact("same as", &format!("{}  (Y copies it)", self.plan.command), Role::Accent);
        out
    }

    /// Draws the page.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, now_ms: i64, may: Result<(), String>) {
        let name = if self.plan.title.is_empty() { &self.plan.runbook } else { &self.plan.title };
        let wide = usize::from(area.width.saturating_sub(4));
        let lines = self.lines(wide);
        let undoable = self.plan.steps.iter().all(|step| step.undo.is_some());
        let foot = self.confirm.as_ref().map_or(1, Confirm::height) + 1;
        let note = u16::from(!self.note.is_empty());
        // The box is as high as what is in it: title, facts, prompt.
        let wanted = cells(lines.len()).saturating_add(4 + foot + note);
        let area = Rect { height: area.height.min(wanted), ..area };
        let inner = canvas.framed(area, &self.plan.runbook, &self.validity(now_ms));
        canvas.row(inner, 0, name, Role::Heading);
        let undo =
            if undoable { "undo offered after it" } else { "no undo: it cannot be taken back as a whole" };
        canvas.row(inner, 1, &format!("tier {}; {undo}", self.plan.tier.words()), Role::Dim);
        let body_height = inner.height.saturating_sub(2 + foot + note);
        let body = top(crate::canvas::below(inner, 2), body_height);
        // Where not all fits, the last row says how much is below.
        let short = lines.len() > usize::from(body.height);
        let height = usize::from(body.height.saturating_sub(u16::from(short)));
        let first = self.first.min(lines.len().saturating_sub(height));
        for (index, line) in lines.iter().skip(first).take(height).enumerate() {
            canvas.spans(body, cells(index), line);
        }
        if short {
            let more = format!("{} above, {} below (Up, Down)", first, lines.len() - first - height);
            canvas.right(body, body.height.saturating_sub(1), &more, Role::Key);
        }
        if note > 0 {
            canvas.row(inner, inner.height.saturating_sub(foot + note), &self.note, Role::Warn);
        }
        let prompt = crate::canvas::below(inner, inner.height.saturating_sub(foot) + 1);
        let may = may.and_then(|()| self.startable(now_ms));
        match (&self.confirm, may) {
            (Some(confirm), _) => confirm.draw(canvas, prompt),
            (None, Ok(())) => {
                canvas.row(prompt, 0, "x goes to the confirmation line; nothing is done yet", Role::Key)
            }
            (None, Err(reason)) => canvas.row(prompt, 0, &format!("cannot be started: {reason}"), Role::Bad),
        }
    }
}
