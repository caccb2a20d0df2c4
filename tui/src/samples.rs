//! A box as tests see it: fixed moments, fixed numbers.

use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::ids::Revision;
use gatehouse_common::ops::audit::{AuditEntry, AuditPage, AuditRecord};
use gatehouse_common::ops::entities::{Consumer, Page, Route, Session, Token};
use gatehouse_common::ops::hello::{Door, Hello};
use gatehouse_common::ops::logs::{Level, LogItem, LogLine};
use gatehouse_common::ops::metrics::{RouteTraffic, Traffic, Window};
use gatehouse_common::ops::runs::RunSummary;
use gatehouse_common::runbook::*;

/// 2026-11-21 14:02:09Z
pub(crate) const NOW: i64 = 1_795_269_729_000;

pub(crate) fn spec(id: &str, group: &str, tier: Tier, kind: Option<ParamKind>) -> RunbookSpec {
    let param = |kind: ParamKind| Param {
        name: if kind == ParamKind::Consumer { "consumer".into() } else { "archive".into() },
        kind,
        required: true,
        help: "Which one it is about".into(),
    };
    RunbookSpec {
        id: id.into(),
        title: id.replace('_', " "),
        group: group.into(),
        about: format!("Does what {id} says, after an examination. Use it when the health screen names it."),
        tier,
        params: kind.into_iter().map(param).collect(),
        exclusive: None,
    }
}

pub(crate) fn hello(door: Door) -> Hello {
    Hello {
        build: "0.1.0".into(),
        protocol: (1, 1),
        boot: "b1".into(),
        host: "edge-1".into(),
        started_unix_ms: NOW - (12 * 86_400 + 4 * 3_600) * 1_000,
        revision: Revision(214),
        actor: "uid 1004 (ana)".into(),
        door,
        listen: vec!["0.0.0.0:8080".into()],
        runbooks: vec![
            spec("reload_config", "Configuration", Tier::Safe, None),
            spec("revoke_tokens", "Access", Tier::Name, Some(ParamKind::Consumer)),
            spec("backup_now", "Data", Tier::Safe, None),
            spec("restore_backup", "Data", Tier::NameReason, Some(ParamKind::Backup)),
            spec("restart_service", "Service", Tier::Yes, None),
        ],
    }
}

pub(crate) fn traffic(requests: u64, errors: u64, p99_ms: u64) -> Traffic {
    Traffic {
        requests,
        errors,
        refused: requests / 200,
        bytes_in: requests * 6_400,
        bytes_out: requests * 32_000,
        p50_us: Some(p99_ms * 120),
        p90_us: Some(p99_ms * 500),
        p99_us: Some(p99_ms * 1_000),
        max_us: Some(p99_ms * 4_000),
    }
}

pub(crate) fn window(index: u64) -> Window {
    let wave = (index * 37) % 400;
    let route = |id: &str, name: &str, traffic| RouteTraffic { route: id.into(), name: name.into(), traffic };
    Window {
        at_unix_ms: NOW - 60_000 + i64::try_from(index).unwrap_or(0) * 1_000,
        length_ms: 1_000,
        revision: Revision(214),
        total: traffic(900 + wave, wave / 100, 40 + wave / 20),
        in_flight: 200 + wave / 2,
        connections: 2_114,
        heat: [300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
            .into_iter()
            .enumerate()
            .map(|(bucket, bound)| (bound, (400 + wave) / (1 + (bucket as u64).abs_diff(index % 5)).pow(2)))
            .collect(),
        routes: vec![
            route("r1", "orders-rest/v1", traffic(640, 0, 22)),
            route("r2", "catalog-graphql/v1", traffic(410, 0, 31)),
            route("r3", "billing-soap/v2", traffic(12, index % 3, 812)),
        ],
        dropped: 0,
        rss_bytes: 96 << 20,
        disk_free: Some(0.72),
        backup_age_secs: Some(5 * 3_600),
        notices: 2,
    }
}

pub(crate) fn page<T>(items: Vec<T>) -> Page<T> {
    Page { total: items.len(), items, page: 1, has_next: false }
}

pub(crate) fn routes() -> Page<Route> {
    let route = |id: &str, name: &str, kind: &str, active| Route {
        id: id.into(),
        name: name.into(),
        kind: kind.into(),
        active,
        protected: kind != "graphql",
        endpoints: vec!["GET /orders".into(), "POST /orders/{id}".into()],
        upstreams: vec!["http://10.0.3.7:8443".into(), "http://10.0.3.8:8443".into()],
        policies: vec!["rate-limit".into(), "quota".into()],
    };
    page(vec![
        route("r3", "billing-soap/v2", "soap", true),
        route("r2", "catalog-graphql/v1", "graphql", true),
        route("r1", "orders-rest/v1", "rest", true),
        route("r4", "prices-grpc/v1", "grpc", false),
    ])
}

pub(crate) fn consumers() -> Page<Consumer> {
    let one = |id: &str, keys, active| Consumer {
        id: id.into(),
        email: format!("{id}@example.org"),
        role: if id == "admin" { "admin".into() } else { "developer".into() },
        groups: vec!["ALL".into()],
        subscriptions: vec!["orders-rest/v1".into()],
        active,
        sessions: keys,
        keys,
    };
    page(vec![one("acme", 3, true), one("admin", 0, true), one("ana", 2, true), one("ben", 1, false)])
}

pub(crate) fn tokens() -> Page<Token> {
    let one = |id: &str, consumer: &str, expires, revoked| Token {
        id: id.into(),
        consumer: consumer.into(),
        name: "ci".into(),
        prefix: format!("mcp_{id}"),
        created_unix_ms: NOW - 86_400_000,
        expires_unix_ms: expires,
        revoked_unix_ms: revoked,
    };
    page(vec![
        one("7f3a", "acme", None, None),
        one("19c2", "acme", Some(NOW + 86_400_000), None),
        one("55d0", "ana", Some(NOW - 1_000), None),
        one("0aa1", "ben", None, Some(NOW - 5_000)),
    ])
}

pub(crate) fn sessions() -> Page<Session> {
    page(vec![Session {
        id: "s1".into(),
        consumer: "ana".into(),
        created_unix_ms: NOW - 600_000,
        expires_unix_ms: NOW + 1_200_000,
        source: "10.1.2.3".into(),
    }])
}

pub(crate) fn health() -> Vec<HealthItem> {
    let item = |code: &str, severity, summary: &str, runbook: Option<&str>| HealthItem {
        code: code.into(),
        check: code.to_lowercase(),
        severity,
        summary: summary.into(),
        since_unix_ms: NOW - 240_000,
        depends_on: Vec::new(),
        remedy: runbook.map(|_| "Make one now; it takes no traffic down.".to_owned()),
        runbook: runbook.map(str::to_owned),
    };
    vec![
        item("UPSTREAM-DOWN", Severity::Critical, "billing-soap: 2 of 3 upstreams refuse connections", None),
        item("BACKUP-OLD", Severity::Warning, "the newest backup is 5 days old", Some("backup_now")),
        item("DISK", Severity::Ok, "72% free", None),
        item("CLOCK", Severity::Unknown, "no time source answers", None),
    ]
}

pub(crate) fn run_summary(id: &str, state: RunState) -> RunSummary {
    RunSummary {
        id: id.into(),
        runbook: "revoke_tokens".into(),
        title: "Revoke all tokens of acme".into(),
        state,
        actor: "ana".into(),
        started_unix_ms: NOW - 90_000,
        finished_unix_ms: state.is_final().then_some(NOW - 80_000),
        summary: "3 tokens revoked".into(),
        can_undo: false,
    }
}

pub(crate) fn audit() -> AuditPage {
    let record = |seq: u64, action: &str, object: &str, outcome: &str| AuditRecord {
        seq,
        entry: AuditEntry {
            at_unix_ms: NOW - 60_000 * (215 - i64::try_from(seq).unwrap_or(0)),
            actor: "uid 1004 (ana)".into(),
            source: "operate.sock".into(),
            action: action.into(),
            object: object.into(),
            outcome: outcome.into(),
            detail: serde_json::json!({"reason": "key leaked", "plan": "7f3a19c2"}),
            revision: Revision(seq),
        },
        previous: "ab".repeat(32),
        hash: "cd".repeat(32),
    };
    AuditPage {
        records: vec![
            record(214, "run.revoke_tokens", "consumer/acme", "ok"),
            record(213, "user.update", "user/ben", "ok"),
            record(212, "login", "user/eve", "refused"),
        ],
        chain_ok: true,
        total: 214,
        broken: None,
    }
}

pub(crate) fn log_item(number: u64) -> LogItem {
    if number == 7 {
        return LogItem::Gap { dropped: 213 };
    }
    let levels = [Level::Info, Level::Info, Level::Warn, Level::Error];
    let level = levels[usize::try_from(number % 4).unwrap_or(0)];
    let message = match level {
        Level::Error => "all upstreams failed, answered 504",
        Level::Warn => "upstream 10.0.3.7:8443 timed out after 800ms",
        _ => "POST /ledger 200 12ms",
    };
    LogItem::Line(LogLine {
        number,
        at_unix_ms: NOW - 30_000 + i64::try_from(number).unwrap_or(0) * 700,
        level,
        target: "forward".into(),
        message: message.into(),
        fields: [
            ("route".to_owned(), "billing-soap/v2".to_owned()),
            ("request".to_owned(), format!("01J9ZK{number}")),
        ]
        .into(),
    })
}

pub(crate) fn plan(tier: Tier, word: &str) -> Plan {
    let step = |name: &str, effect: &str, undo: Option<&str>| Step {
        name: name.into(),
        effect: effect.into(),
        undo: undo.map(str::to_owned),
        expected_ms: Some(1_200),
    };
    let finding = |verdict, text: &str| Finding {
        verdict,
        text: text.into(),
        remedy: Some("make a backup first".into()),
    };
    Plan {
        digest: "7f3a19c2b5d8e1f07f3a19c2b5d8e1f0".into(),
        runbook: "revoke_tokens".into(),
        title: "Revoke all 3 tokens of acme".into(),
        params: [("consumer".to_owned(), "acme".to_owned())].into(),
        revision: Revision(214),
        findings: vec![
            finding(Verdict::Ok, "acme is known, 3 live tokens, 1 session"),
            finding(Verdict::Warn, "the last backup is 5 days old"),
        ],
        steps: vec![
            step("list", "write down which tokens are revoked", Some("nothing to undo")),
            step("revoke", "revoke 3 tokens and end 1 session", None),
        ],
        changes: vec!["tokens 3 revoked".into(), "sessions 1 ended".into()],
        verify: vec!["one of the tokens is refused by the gateway".into()],
        risks: Vec::new(),
        tier,
        confirm_word: word.into(),
        valid_until_unix_ms: NOW + 280_000,
        command: "gatehouse run revoke_tokens --consumer acme --plan 7f3a19c2b5d8e1f0 --reason '…'".into(),
    }
}

pub(crate) fn run_events(run: &str) -> Vec<RunEvent> {
    let step = |index, name: &str, state, detail: &str| RunEventKind::Step {
        index,
        name: name.into(),
        state,
        detail: detail.into(),
    };
    let kinds = vec![
        RunEventKind::Started {
            plan: Box::new(plan(Tier::Name, "acme")),
            actor: "uid 1004 (ana)".into(),
            reason: Some("key leaked".into()),
        },
        step(0, "list", StepState::Running, ""),
        RunEventKind::Output { text: "3 tokens of acme are live".into() },
        step(0, "list", StepState::Done, "3 tokens"),
        step(1, "revoke", StepState::Running, ""),
        RunEventKind::Output { text: "revoked mcp_7f3a".into() },
        step(1, "revoke", StepState::Done, "3 revoked"),
        RunEventKind::Verified { ok: true, detail: "mcp_7f3a answered 401".into() },
        RunEventKind::Finished { state: RunState::Done, summary: "3 tokens revoked".into() },
    ];
    let at = |seq: usize| NOW - 9_000 + i64::try_from(seq).unwrap_or(0) * 1_000;
    let event = |(seq, kind)| RunEvent { run: run.into(), seq: seq as u64, at_unix_ms: at(seq), kind };
    kinds.into_iter().enumerate().map(event).collect()
}
