//! The engine against a scripted control and a small gateway: every runbook is made to fail at every step.

use super::*;
use crate::attached::Attached;
use crate::runbooks::LIST;
use crate::runs::RunTable;
use gatehouse_common::ids::{ConsumerId, Revision, TokenId};
use gatehouse_common::ops::entities::{Consumer, Token};
use gatehouse_common::runbook::{RunEventKind, RunState, StepState};
use gatehouse_common::secret::Secret;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::{Backup, Command, Comparison, ControlHandle, EngineState, Revoked};
use gatehouse_corridor::shutdown::{Refusal, Shutdown};
use gatehouse_store::Store;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const BOSS: Actor = Actor::Peer { uid: 0, name: None, pid: None, operate: true };

/// What the scripted control has seen and has.
#[derive(Default)]
struct Script {
    audit: Vec<AuditEntry>,
    backups: Vec<Backup>,
    restored: Vec<String>,
    keys: usize,
}

struct Stage {
    _folder: tempfile::TempDir,
    world: Arc<World>,
    script: Arc<RwLock<Script>>,
    tasks: TaskGroup,
}

fn backup(name: &str) -> Backup {
    Backup { path: PathBuf::from(name), rows: 1, bytes: 9, revision: Revision(1), made_unix_ms: 5 }
}

fn key(index: usize) -> Token {
    Token {
        id: TokenId(index.to_string()),
        consumer: ConsumerId::from("ana"),
        name: "k".to_owned(),
        prefix: "mcp_x".to_owned(),
        created_unix_ms: 0,
        expires_unix_ms: None,
        revoked_unix_ms: None,
    }
}

fn ana() -> Consumer {
    Consumer {
        id: ConsumerId::from("ana"),
        email: "ana@x.org".to_owned(),
        role: "user".to_owned(),
        groups: Vec::new(),
        subscriptions: Vec::new(),
        active: true,
        sessions: 1,
        keys: 0,
    }
}

fn obey(script: &RwLock<Script>, command: Command) {
    let mut script = script.write().unwrap();
    match command {
        Command::Revision(_, reply) => drop(reply.send(Ok(Revision(1)))),
        Command::Routes(_, reply) => drop(reply.send(Ok(Vec::new()))),
        Command::Consumers(_, reply) => drop(reply.send(Ok(vec![ana()]))),
        Command::Tokens(_, reply) => drop(reply.send(Ok((0..script.keys).map(key).collect()))),
        Command::Sessions(_, reply) => drop(reply.send(Ok(Vec::new()))),
        Command::RevokeTokens(_, _, _, reply) => drop(reply.send(Ok(Revoked::default()))),
        Command::ProbeToken(_, _, reply) => drop(reply.send(Ok(Secret::new("t".to_owned())))),
        Command::Backup(_, name, reply) => {
            script.backups.push(backup(&name));
            drop(reply.send(Ok(backup(&name))));
        }
        Command::Backups(_, reply) => drop(reply.send(Ok(script.backups.clone()))),
        Command::CompareBackup(_, name, reply) => {
            let (backup, tables, revision) = (backup(&name), Vec::new(), Revision(1));
            let comparison = Comparison { backup, tables, stay_revoked: 0, settings_differ: false, revision };
            drop(reply.send(Ok(comparison)));
        }
        Command::Restore(_, _, name, reply) => {
            script.restored.push(name);
            drop(reply.send(Ok(Revision(2))));
        }
        Command::Audit(_, entry, reply) => {
            script.audit.push(entry);
            drop(reply.send(Ok(Revision(1))));
        }
        Command::OneTimeLink(..) | Command::ForgetFactor(..) => panic!("no runbook asks for this"),
        // No runbook has to do with declared configuration: whoever asks hears that nobody answers.
        Command::ConfigExport(..) | Command::ConfigSchema(..) | Command::ConfigHistory(..) => {}
        Command::ConfigFolder(..) | Command::ConfigPlan(..) => {}
        Command::ConfigApply(..) | Command::ConfigUndo(..) => {}
        Command::Engine(_, reply) => drop(reply.send(Ok(EngineState::Off))),
        Command::Restart(_, _, reply) => drop(reply.send(Ok(()))),
        Command::Import(_, _, _, reply) => drop(reply.send(Ok(Default::default()))),
        Command::Introspect(_, _, reply) => drop(reply.send(Ok(Default::default()))),
    }
}

/// Answers 401 to a status probe and 200 to everything else, as a gateway that refuses the token.
async fn gateway(tasks: &TaskGroup) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 2_048];
            let read = stream.read(&mut head).await.unwrap();
            let status = if head[..read].starts_with(b"GET /platform/auth") { 401 } else { 200 };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let tasks = TaskGroup::new("test");
    let (control, mut commands) = ControlHandle::door();
    let script = Arc::new(RwLock::new(Script::default()));
    let serving = Arc::clone(&script);
    tasks.spawn(async move {
        while let Some(command) = commands.recv().await {
            obey(&serving, command);
        }
    });
    let world = Arc::new(World {
        control,
        clock: Clock::manual(1_000_000),
        host: "edge-1".to_owned(),
        gateway: gateway(&tasks).await,
        data_dir: folder.path().to_owned(),
        store: Store::memory().unwrap(),
        attached: Attached::default(),
        runs: RunTable::open(&folder.path().join("runs")).unwrap(),
        shutdown: Shutdown::new(Duration::ZERO),
    });
    Stage { _folder: folder, world, script, tasks }
}

impl Stage {
    fn runner(&self, fault: Fault) -> Runner {
        Runner::with_fault(Arc::clone(&self.world), self.tasks.clone(), fault)
    }

    /// The engine of the next start: it knows what the journal says.
    fn again(&self) -> Runner {
        let World { control, clock, host, gateway, data_dir, store, attached, .. } = &*self.world;
        let world = Arc::new(World {
            control: control.clone(),
            clock: clock.clone(),
            host: host.clone(),
            gateway: *gateway,
            data_dir: data_dir.clone(),
            store: store.clone(),
            attached: attached.clone(),
            runs: RunTable::open(&data_dir.join("runs")).unwrap(),
            shutdown: Shutdown::new(Duration::ZERO),
        });
        Runner::with_fault(world, self.tasks.clone(), Fault::default())
    }
}

fn request(runbook: &str, params: &[(&str, &str)]) -> PlanRequest {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PlanRequest { runbook: runbook.to_owned(), params }
}

fn start_of(plan: &Plan) -> StartRequest {
    let confirm = if plan.tier == Tier::Yes { "yes".to_owned() } else { plan.confirm_word.clone() };
    let reason = Some("a test".to_owned());
    StartRequest { plan: plan.digest.clone(), confirm: Some(confirm), reason, ..StartRequest::default() }
}

/// All events of a run up to its end.
async fn all(runner: &Runner, run: &RunId) -> Vec<RunEvent> {
    let mut events = runner.follow(run).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        seen.push(event);
    }
    seen
}

/// Plans, starts, follows to the end.
async fn run(runner: &Runner, request: PlanRequest) -> (Plan, RunId, Vec<RunEvent>) {
    let plan = runner.plan(&BOSS, request).await.unwrap();
    let summary = runner.start(&BOSS, start_of(&plan)).await.unwrap();
    let seen = all(runner, &summary.id).await;
    (plan, summary.id, seen)
}

fn ending(events: &[RunEvent]) -> RunState {
    match &events.last().unwrap().kind {
        RunEventKind::Finished { state, .. } => *state,
        other => panic!("the run did not end: {other:?}"),
    }
}

/// Parameters that make each runbook plannable.
async fn plannable(stage: &Stage, id: &str) -> PlanRequest {
    match id {
        "revoke_tokens" => request(id, &[("user", "ana")]),
        "restore_backup" => request(id, &[("backup", "a.jsonl")]),
        "undo_run" => {
            let restore = request("restore_backup", &[("backup", "a.jsonl")]);
            let (_, run, events) = run(&stage.runner(Fault::default()), restore).await;
            assert_eq!(ending(&events), RunState::Done);
            request(id, &[("run", run.as_str())])
        }
        _ => request(id, &[]),
    }
}

#[tokio::test]
async fn every_runbook_fails_at_every_step_and_leaves_a_record() {
    let mut tried = 0;
    for runbook in LIST {
        let id = runbook.spec().id;
        let stage = stage().await;
        let planned = plannable(&stage, &id).await;
        let steps = stage.runner(Fault::default()).plan(&BOSS, planned.clone()).await.unwrap().steps;
        assert!(!steps.is_empty(), "{id}");
        for failing in 0..steps.len() {
            let runner = stage.runner(Fault { step: Some(failing), undo: None });
            let (plan, _, events) = run(&runner, planned.clone()).await;
            let whole = plan.steps[..failing].iter().all(|step| step.undo.is_some());
            let expected = if whole { RunState::Undone } else { RunState::Failed };
            assert_eq!(ending(&events), expected, "{id} at step {failing}");
            let undone: Vec<usize> = events.iter().filter_map(of(StepState::Undone)).collect();
            let wanted: Vec<usize> =
                (0..failing).rev().filter(|index| plan.steps[*index].undo.is_some()).collect();
            assert_eq!(undone, wanted, "{id} at step {failing}: undone last one first");
            let last = stage.script.read().unwrap().audit.last().cloned().unwrap();
            assert_eq!((last.action, last.outcome), (format!("run.{id}"), "failed".to_owned()));
            assert!(runner.0.held.read().unwrap().is_empty(), "{id}: the resource is free again");
            tried += 1;
        }
    }
    assert_eq!(tried, 7, "a runbook's steps were not tried");
}

fn of(wanted: StepState) -> impl Fn(&RunEvent) -> Option<usize> {
    move |event| match event.kind {
        RunEventKind::Step { index, state, .. } if state == wanted => Some(index),
        _ => None,
    }
}

#[tokio::test]
async fn an_undo_that_fails_makes_it_a_failure() {
    let stage = stage().await;
    let runner = stage.runner(Fault { step: Some(1), undo: Some(0) });
    let (_, _, events) = run(&runner, request("restore_backup", &[("backup", "a.jsonl")])).await;
    assert_eq!(ending(&events), RunState::Failed);
    assert!(events.iter().any(|event| of(StepState::UndoFailed)(event) == Some(0)));
}

#[tokio::test]
async fn a_run_that_goes_well_is_verified_recorded_and_can_be_undone() {
    let stage = stage().await;
    let runner = stage.runner(Fault::default());
    let (plan, id, events) = run(&runner, request("restore_backup", &[("backup", "a.jsonl")])).await;
    assert_eq!(ending(&events), RunState::Done);
    assert!(events.iter().any(|event| matches!(event.kind, RunEventKind::Verified { ok: true, .. })));
    let actions: Vec<_> =
        stage.script.read().unwrap().audit.iter().map(|entry| entry.action.clone()).collect();
    assert_eq!(actions, ["run.restore_backup.start", "run.restore_backup"]);
    let undo = runner.undo(&BOSS, &id).await.unwrap();
    assert!(!undo.blocked() && undo.steps.len() == plan.steps.len());
    let (_, _, events) = run(&runner, request("undo_run", &[("run", id.as_str())])).await;
    assert_eq!(ending(&events), RunState::Done);
    assert_eq!(stage.script.read().unwrap().restored, ["a.jsonl", &format!("safety-{id}.jsonl")]);
    assert!(runner.undo(&BOSS, &id).await.unwrap().blocked(), "once is enough");
}

#[tokio::test]
async fn nothing_starts_without_the_word_the_reason_the_door_and_the_same_world() {
    let stage = stage().await;
    let runner = stage.runner(Fault::default());
    let plan = runner.plan(&BOSS, request("revoke_tokens", &[("user", "ana")])).await.unwrap();
    let restore = runner.plan(&BOSS, request("restore_backup", &[("backup", "a.jsonl")])).await.unwrap();
    let viewer = Actor::Peer { uid: 0, name: None, pid: None, operate: false };
    let wrong = StartRequest { confirm: Some("anna".to_owned()), ..start_of(&plan) };
    let silent = StartRequest { reason: Some(" ".to_owned()), ..start_of(&restore) };
    let unknown = StartRequest { plan: "0".repeat(16), ..start_of(&plan) };
    let empty = StartRequest { confirm: None, ..start_of(&plan) };
    for (actor, request, code) in [
        (&BOSS, wrong, Code::ConfirmationWrong),
        (&BOSS, empty, Code::ConfirmationWrong),
        (&BOSS, silent, Code::ConfirmationWrong),
        (&BOSS, unknown, Code::PlanExpired),
        (&viewer, start_of(&plan), Code::NotPermitted),
    ] {
        let problem = runner.start(actor, request).await.unwrap_err();
        assert_eq!(problem.code, code.entry().code, "{problem}");
    }
    stage.script.write().unwrap().keys = 1;
    let problem = runner.start(&BOSS, start_of(&plan)).await.unwrap_err();
    assert_eq!(problem.code, Code::PlanOutdated.entry().code);
    assert!(runner.list().is_empty() && stage.script.read().unwrap().audit.is_empty());
}

#[tokio::test]
async fn one_run_at_a_time_for_what_is_exclusive() {
    let stage = stage().await;
    let runner = stage.runner(Fault::default());
    // The restart never ends within the life of a daemon.
    let restart = runner.plan(&BOSS, request("restart_service", &[])).await.unwrap();
    let restore = runner.plan(&BOSS, request("restore_backup", &[("backup", "a.jsonl")])).await.unwrap();
    runner.start(&BOSS, start_of(&restart)).await.unwrap();
    let problem = runner.start(&BOSS, start_of(&restore)).await.unwrap_err();
    assert_eq!(problem.code, Code::Busy.entry().code);
    assert_eq!(runner.list().len(), 1);
}

#[tokio::test]
async fn a_refused_restart_fails_the_run_at_once_and_the_verification_of_one_taken_up() {
    let refusal = Refusal { at_unix_ms: 1, why: "exit status: 78".to_owned() };
    let stage = stage().await;
    let runner = stage.runner(Fault::default());
    let plan = runner.plan(&BOSS, request("restart_service", &[])).await.unwrap();
    let run = runner.start(&BOSS, start_of(&plan)).await.unwrap();
    let mut events = runner.follow(&run.id).unwrap();
    while let Some(event) = events.recv().await {
        if matches!(event.kind, RunEventKind::Step { state: StepState::Running, .. }) {
            // Until the step waits for it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stage.world.shutdown.refuse(refusal.clone());
        }
    }
    let ended = stage.world.runs.get(&run.id).unwrap().summary();
    assert!(ended.state != RunState::Done && ended.summary.contains("exit status: 78"), "{ended:?}");
    let cut = stage.world.runs.begin(&plan, "uid 0".to_owned(), None, 1).unwrap();
    let name = plan.steps[0].name.clone();
    let kind = RunEventKind::Step { index: 0, name, state: StepState::Running, detail: String::new() };
    stage.world.runs.add(&cut, 1, kind).unwrap();
    stage.runner(Fault::default()).resume();
    let seen = all(&stage.runner(Fault::default()), &cut.id).await;
    assert_eq!(ending(&seen), RunState::Unverified, "{seen:?}");
}

#[tokio::test]
async fn the_next_daemon_takes_up_what_was_cut() {
    for (id, cut) in [("restart_service", 0), ("restore_backup", 1), ("revoke_tokens", 0)] {
        let stage = stage().await;
        let planned = plannable(&stage, id).await;
        let plan = stage.runner(Fault::default()).plan(&BOSS, planned).await.unwrap();
        let run = stage.world.runs.begin(&plan, "uid 0".to_owned(), None, 1).unwrap();
        for index in 0..=cut {
            let name = plan.steps[index].name.clone();
            let state = if index < cut { StepState::Done } else { StepState::Running };
            let kind = RunEventKind::Step { index, name, state, detail: String::new() };
            stage.world.runs.add(&run, 1, kind).unwrap();
        }
        let runner = stage.again();
        runner.resume();
        let seen = all(&runner, &run.id).await;
        assert_eq!(ending(&seen), RunState::Done, "{id}");
        let last = stage.script.read().unwrap().audit.last().cloned().unwrap();
        assert_eq!((last.actor.as_str(), last.outcome.as_str()), ("uid 0", "ok"), "{id}");
    }
}

#[tokio::test]
async fn a_stop_is_not_forgotten_by_a_crash() {
    let stage = stage().await;
    let plan =
        stage.runner(Fault::default()).plan(&BOSS, plannable(&stage, "restore_backup").await).await.unwrap();
    let run = stage.world.runs.begin(&plan, "uid 0".to_owned(), None, 1).unwrap();
    for state in [StepState::Running, StepState::Done] {
        let kind =
            RunEventKind::Step { index: 0, name: "safety backup".to_owned(), state, detail: String::new() };
        stage.world.runs.add(&run, 1, kind).unwrap();
    }
    stage.runner(Fault::default()).stop(&BOSS, &run.id).unwrap();
    let runner = stage.again();
    runner.resume();
    let seen = all(&runner, &run.id).await;
    assert_eq!(ending(&seen), RunState::Stopped);
    assert!(stage.script.read().unwrap().restored.is_empty(), "it went on after it was asked to stop");
    assert!(seen.iter().any(|event| of(StepState::Undone)(event) == Some(0)));
}
