//! What the verbs print for people: plain tables, one fact a line, no escape codes.

mod audit;

pub use audit::{audit, audit_break, audit_verdict};

use crate::clock::{between, date_time, time_with_millis};
use crate::text::{clean, grouped, width};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::ops::entities::{Consumer, Page, Route, Token};
use gatehouse_common::ops::hello::{Door, Hello};
use gatehouse_common::ops::logs::{Level, LogItem};
use gatehouse_common::ops::metrics::{Traffic, Window};
use gatehouse_common::ops::runs::RunSummary;
use gatehouse_common::runbook::{Plan, RunEvent, RunEventKind, RunState, StepState, Verdict};
use gatehouse_common::units;

/// Columns padded to their widest cell.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
        cells.chain(head.get(column).map(|head| head.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(widest).collect();
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let mut out = String::new();
        for (cell, wide) in cells.zip(&widths) {
            let pad = wide.saturating_sub(width(&cell)) + 2;
            out.push_str(&cell);
            out.extend(std::iter::repeat_n(' ', pad));
        }
        out.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().map(|head| (*head).to_owned()))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(|cell| clean(cell)))));
    lines
}

/// A severity as a word.
#[must_use]
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// A level as a word.
#[must_use]
pub const fn level(level: Level) -> &'static str {
    match level {
        Level::Trace => "TRACE",
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    }
}

/// A run's state as a word.
#[must_use]
pub const fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Stopping => "stopping",
        RunState::Done => "done",
        RunState::Unverified => "unverified",
        RunState::Undone => "undone",
        RunState::Failed => "failed",
        RunState::Stopped => "stopped",
    }
}

/// A step's state as a word.
#[must_use]
pub const fn step_state(state: StepState) -> &'static str {
    match state {
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Undone => "undone",
        StepState::UndoFailed => "undo failed",
    }
}

/// A finding's mark.
#[must_use]
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "[ok]",
        Verdict::Warn => "[!!]",
        Verdict::Block => "[XX]",
    }
}

/// A door as a word.
#[must_use]
pub const fn door(door: Door) -> &'static str {
    match door {
        Door::Operate => "operate",
        Door::View => "view",
    }
}

/// A latency, `?` when there was no request.
#[must_use]
pub fn latency(micros: Option<u64>) -> String {
    micros.map_or_else(|| "?".to_owned(), units::latency)
}

/// Requests a second and the share of errors in percent; `?` when there was nothing to divide by.
#[must_use]
pub fn rates(traffic: &Traffic, length_ms: u64) -> (String, String) {
    let secs = length_ms.max(1) as f64 / 1_000.0;
    let share = match traffic.requests {
        0 => "?".to_owned(),
        all => format!("{:.2}", traffic.errors as f64 * 100.0 / all as f64),
    };
    (units::rate(traffic.requests as f64 / secs), share)
}

/// `gatehouse status`.
#[must_use]
pub fn status(hello: &Hello, window: &Window, health: &[HealthItem], now_ms: i64) -> Vec<String> {
    let (rate, share) = rates(&window.total, window.length_ms);
    let backup = window.backup_age_secs.map_or_else(
        || "none".to_owned(),
        |secs| format!("{} ago", units::span(std::time::Duration::from_secs(secs))),
    );
    let disk = window.disk_free.map_or_else(|| "?".to_owned(), |free| format!("{:.0}% free", free * 100.0));
    let mut lines = vec![
        format!("box          {}", clean(&hello.host)),
        format!("daemon       {}, up {}", clean(&hello.build), between(hello.started_unix_ms, now_ms)),
        format!("revision     {}", hello.revision),
        format!("door         {}, {}", door(hello.door), clean(&hello.actor)),
        format!("requests     {rate}/s over {}s", window.length_ms.div_ceil(1_000)),
        format!("errors       {share}%"),
        format!(
            "latency      p50 {}  p90 {}  p99 {}  max {}",
            latency(window.total.p50_us),
            latency(window.total.p90_us),
            latency(window.total.p99_us),
            latency(window.total.max_us)
        ),
        format!("in flight    {}, connections {}", grouped(window.in_flight), grouped(window.connections)),
        format!("backup       {backup}"),
        format!("disk         {disk}"),
        format!("memory       {}", units::bytes(window.rss_bytes)),
        format!("notices      {}", window.notices),
    ];
    let bad = health.iter().filter(|item| item.severity >= Severity::Warning);
    lines.extend(bad.map(|item| format!("! {}  {}", clean(&item.code), clean(&item.summary))));
    lines
}

/// `gatehouse routes`.
#[must_use]
pub fn routes(page: &Page<Route>) -> Vec<String> {
    let row = |route: &Route| {
        let state = if route.active { "active" } else { "off" };
        vec![
            route.name.clone(),
            route.kind.clone(),
            state.into(),
            route.upstreams.join(" "),
            route.policies.join(" "),
        ]
    };
    table(
        &["ROUTE", "KIND", "STATE", "UPSTREAMS", "POLICIES"],
        &page.items.iter().map(row).collect::<Vec<_>>(),
    )
}

/// `gatehouse consumers`.
#[must_use]
pub fn consumers(page: &Page<Consumer>) -> Vec<String> {
    let row = |one: &Consumer| {
        let state = if one.active { "active" } else { "off" };
        vec![
            one.id.0.clone(),
            one.role.clone(),
            state.into(),
            one.keys.to_string(),
            one.sessions.to_string(),
            one.groups.join(" "),
        ]
    };
    table(
        &["CONSUMER", "ROLE", "STATE", "KEYS", "SESSIONS", "GROUPS"],
        &page.items.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Whether a token may be used, as a word.
#[must_use]
pub fn token_state(token: &Token, now_ms: i64) -> &'static str {
    match (token.revoked_unix_ms, token.expires_unix_ms) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now_ms => "expired",
        _ => "live",
    }
}

/// `gatehouse tokens`.
#[must_use]
pub fn tokens(page: &Page<Token>, now_ms: i64) -> Vec<String> {
    let row = |token: &Token| {
        let expires = token.expires_unix_ms.map_or_else(|| "never".to_owned(), date_time);
        vec![
            token.prefix.clone(),
            token.consumer.0.clone(),
            token.name.clone(),
            token_state(token, now_ms).into(),
            date_time(token.created_unix_ms),
            expires,
        ]
    };
    let head = ["TOKEN", "CONSUMER", "NAME", "STATE", "CREATED", "EXPIRES"];
    table(&head, &page.items.iter().map(row).collect::<Vec<_>>())
}

/// `gatehouse health`.
#[must_use]
pub fn health(items: &[HealthItem], now_ms: i64) -> Vec<String> {
    let row = |item: &HealthItem| {
        let remedy = item.remedy.clone().unwrap_or_default();
        vec![
            severity(item.severity).into(),
            item.code.clone(),
            between(item.since_unix_ms, now_ms),
            item.summary.clone(),
            remedy,
        ]
    };
    table(&["STATE", "CODE", "FOR", "WHAT", "REMEDY"], &items.iter().map(row).collect::<Vec<_>>())
}

/// `gatehouse runs`.
#[must_use]
pub fn runs(runs: &[RunSummary]) -> Vec<String> {
    let row = |run: &RunSummary| {
        vec![
            run.id.0.clone(),
            date_time(run.started_unix_ms),
            run.runbook.clone(),
            run_state(run.state).into(),
            run.actor.clone(),
            run.summary.clone(),
        ]
    };
    table(&["RUN", "STARTED", "RUNBOOK", "STATE", "BY", "SUMMARY"], &runs.iter().map(row).collect::<Vec<_>>())
}

/// `gatehouse hello`.
#[must_use]
pub fn hello(hello: &Hello) -> Vec<String> {
    let mut lines = vec![
        format!("box       {}", clean(&hello.host)),
        format!("daemon    {}, protocol {} to {}", clean(&hello.build), hello.protocol.0, hello.protocol.1),
        format!("listens   {}", clean(&hello.listen.join(" "))),
        format!("door      {}, as {}", door(hello.door), clean(&hello.actor)),
        "runbooks".to_owned(),
    ];
    for spec in &hello.runbooks {
        let params: Vec<_> = spec
            .params
            .iter()
            .map(|param| {
                if param.required {
                    format!(" --{} …", param.name)
                } else {
                    format!(" [--{} …]", param.name)
                }
            })
            .collect();
        lines.push(format!(
            "  {}{}   {} ({})",
            clean(&spec.id),
            clean(&params.concat()),
            clean(&spec.title),
            spec.tier.words()
        ));
    }
    lines
}

/// `gatehouse plan`.
#[must_use]
pub fn plan(plan: &Plan, now_ms: i64) -> Vec<String> {
    let mut lines = vec![
        clean(&plan.title),
        format!("plan      {}, valid {}", clean(&plan.digest), between(now_ms, plan.valid_until_unix_ms)),
        format!("tier      {}", plan.tier.words()),
    ];
    for finding in &plan.findings {
        lines.push(format!("check     {} {}", verdict(finding.verdict), clean(&finding.text)));
        lines.extend(finding.remedy.iter().map(|remedy| format!("          remedy: {}", clean(remedy))));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let undo = step.undo.as_deref().unwrap_or("no undo");
        lines.push(format!("does      {} {}; undo: {}", index + 1, clean(&step.effect), clean(undo)));
    }
    lines.extend(plan.changes.iter().map(|change| format!("changes   {}", clean(change))));
    lines.extend(plan.verify.iter().map(|probe| format!("verifies  {}", clean(probe))));
    lines.extend(plan.risks.iter().map(|risk| format!("risk      {}", risk_name(*risk))));
    lines.push(if plan.blocked() {
        "blocked: nothing can be run until the [XX] findings are cured".to_owned()
    } else {
        format!("run it    {}", clean(&plan.command))
    });
    lines
}

/// A risk by the name it is accepted by.
#[must_use]
pub const fn risk_name(risk: gatehouse_common::runbook::Risk) -> &'static str {
    use gatehouse_common::runbook::Risk;
    match risk {
        Risk::LoseSsh => "lose-ssh",
        Risk::LoseConsole => "lose-console",
        Risk::LoseChanges => "lose-changes",
    }
}

/// One line of `gatehouse logs`.
#[must_use]
pub fn log_item(item: &LogItem) -> String {
    match item {
        LogItem::Gap { dropped } => format!("... {} lines dropped ...", grouped(*dropped)),
        LogItem::Line(line) => {
            let fields: Vec<_> = line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            clean(&format!(
                "{}Z {:<5} {} {} {}",
                time_with_millis(line.at_unix_ms),
                level(line.level),
                line.target,
                line.message,
                fields.join(" ")
            ))
            .trim_end()
            .to_owned()
        }
    }
}

/// One line of a followed run.
#[must_use]
pub fn run_event(event: &RunEvent) -> String {
    let what = match &event.kind {
        RunEventKind::Started { plan, actor, .. } => format!("started {} by {actor}", plan.title),
        RunEventKind::Step { index, name, state, detail } => {
            format!("step {} {name} {} {detail}", index + 1, step_state(*state))
        }
        RunEventKind::StopAsked { actor } => format!("stop asked for by {actor}"),
        RunEventKind::Undoing { why, .. } => format!("undoing: {why}"),
        RunEventKind::Output { text } => format!("  {text}"),
        RunEventKind::Verified { ok, detail } => {
            format!("verify {} {detail}", if *ok { "ok" } else { "FAILED" })
        }
        RunEventKind::Finished { state, summary } => format!("{} {summary}", run_state(*state)),
    };
    clean(&format!("{}Z {what}", time_with_millis(event.at_unix_ms))).trim_end().to_owned()
}
