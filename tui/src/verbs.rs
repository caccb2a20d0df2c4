//! The verbs: one question to the daemon, one answer in words or JSON, one exit code.

mod config;

use crate::cli::{self, Request, Usage};
use crate::client::{Client, ClientError, encoded, query};
use crate::output::Output;
use crate::{clock, exit, importing, report};
use gatehouse_common::health::HealthItem;
use gatehouse_common::ops::Item;
use gatehouse_common::ops::audit::{AuditPage, AuditVerdict, Exported};
use gatehouse_common::ops::entities::{Consumer, Page, Route, Token};
use gatehouse_common::ops::hello::Hello;
use gatehouse_common::ops::imports::ImportReport;
use gatehouse_common::ops::logs::LogItem;
use gatehouse_common::ops::metrics::Window;
use gatehouse_common::ops::runs::{PlanRequest, RunSummary, StartRequest};
use gatehouse_common::runbook::{Plan, RunEvent, RunEventKind, RunState, Tier};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How often a followed run is looked for again after the daemon went away, half a second apart.
const FOLLOW_TRIES: u32 = 120;
/// Shortest beginning of a digest that names a plan.
const DIGEST_MIN: usize = 8;

/// Why a verb did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line.
    #[error("{0}")]
    Usage(#[from] Usage),
    /// The daemon, or the way to it.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Nobody reads the output.
    #[error("output: {0}")]
    Output(#[from] io::Error),
    /// The plan named is not the plan of now.
    #[error("the world moved since plan {0} was made; look at the new plan and run that")]
    Outdated(String),
    /// It cannot be done.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The exit code that tells it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Outdated(_) => exit::OUTDATED,
            Self::Output(_) | Self::Failed(_) => exit::FAILED,
            Self::Client(ClientError::Unreachable { .. }) => exit::UNREACHABLE,
            Self::Client(ClientError::Refused { .. }) => exit::NOT_PERMITTED,
            Self::Client(error) => match error.problem() {
                Some(problem) if problem.status == 403 || problem.status == 401 => exit::NOT_PERMITTED,
                Some(problem) if problem.code == "GH-BAD-INPUT" => exit::USAGE,
                Some(problem) if ["GH-PLAN-OUTDATED", "GH-PLAN-EXPIRED"].contains(&problem.code.as_str()) => {
                    exit::OUTDATED
                }
                _ => exit::FAILED,
            },
        }
    }
}

/// One verb at work.
struct Work<'a, 'b> {
    client: &'a Client,
    request: &'a Request,
    ssh_connection: Option<&'a str>,
    output: &'a mut Output<'b>,
}

/// Does what was asked and gives the exit code.
pub async fn perform(
    client: &Client,
    request: &Request,
    ssh_connection: Option<&str>,
    output: &mut Output<'_>,
) -> u8 {
    let outcome = Work { client, request, ssh_connection, output }.perform().await;
    match outcome {
        Ok(code) => code,
        // The reader of a pipe may leave when it has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
        Err(failure) => {
            output.complain(&crate::text::clean(&failure.to_string()));
            if let Failure::Client(error) = &failure {
                let remedy = error.problem().and_then(|problem| problem.remedy.as_deref());
                remedy.into_iter().for_each(|remedy| output.complain(&crate::text::clean(remedy)));
            }
            failure.code()
        }
    }
}

impl Work<'_, '_> {
    async fn perform(mut self) -> Result<u8, Failure> {
        let now = clock::now_unix_ms();
        let words = self.request.words.join(" ");
        let list = |path: &str| query(path, &[("q", &words), ("page_size", "1000")]);
        match self.request.verb {
            "status" => self.status().await,
            "routes" => self.show::<Page<Route>>(&list("/v1/routes"), report::routes).await,
            "consumers" => self.show::<Page<Consumer>>(&list("/v1/consumers"), report::consumers).await,
            "tokens" => self.show::<Page<Token>>(&list("/v1/tokens"), |page| report::tokens(page, now)).await,
            "health" => self.show::<Vec<HealthItem>>("/v1/health", |items| report::health(items, now)).await,
            "audit" => self.audit(&words).await,
            "runs" => self.show::<Vec<RunSummary>>("/v1/runs", |runs| report::runs(runs)).await,
            "config" => self.config().await,
            "hello" => self.show::<Hello>("/v1/hello", report::hello).await,
            "logs" => self.logs(&words).await,
            "import" => self.import().await,
            "plan" => self.plan().await,
            "run" => self.run().await,
            other => Err(Usage(format!("unknown verb {other}")).into()),
        }
    }

    async fn show<T: DeserializeOwned + Serialize>(
        &mut self,
        path: &str,
        text: impl Fn(&T) -> Vec<String>,
    ) -> Result<u8, Failure> {
        let value: T = self.client.get(path).await?;
        if self.request.json {
            self.output.object(&value)?;
        } else {
            self.output.lines(&text(&value))?;
        }
        Ok(exit::DONE)
    }

    async fn audit(&mut self, words: &str) -> Result<u8, Failure> {
        match self.request.words.split_first() {
            Some((word, [])) if word == "verify" => {
                let verdict: AuditVerdict = self.client.get("/v1/audit/verify").await?;
                if self.request.json {
                    self.output.object(&verdict)?;
                } else {
                    self.output.lines(&report::audit_verdict(&verdict))?;
                }
                Ok(if verdict.broken.is_none() { exit::DONE } else { exit::FAILED })
            }
            Some((word, rest)) if word == "export" => self.export(&rest.join(" ")).await,
            _ => self.show::<AuditPage>(&query("/v1/audit", &[("q", words)]), report::audit).await,
        }
    }

    async fn export(&mut self, words: &str) -> Result<u8, Failure> {
        let mut lines = self.client.stream(&query("/v1/audit/export", &[("q", words)])).await?;
        while let Some(line) = lines.next::<Exported>().await? {
            match line {
                Exported::Record(record) => self.output.object(&record)?,
                Exported::Broken { broken } => return Err(Failure::Failed(report::audit_break(&broken))),
            }
        }
        Ok(exit::DONE)
    }

    async fn status(&mut self) -> Result<u8, Failure> {
        #[derive(Serialize)]
        struct Status {
            hello: Hello,
            window: Window,
            health: Vec<HealthItem>,
        }
        let hello: Hello = self.client.get("/v1/hello").await?;
        let path = query("/v1/metrics", &[("every", "1s"), ("follow", "0")]);
        let window = self.client.stream(&path).await?.next::<Item<Window>>().await?;
        let window = window.map(|item| item.body).unwrap_or_default();
        let health: Vec<HealthItem> = self.client.get("/v1/health").await?;
        if self.request.json {
            self.output.object(&Status { hello, window, health })?;
        } else {
            self.output.lines(&report::status(&hello, &window, &health, clock::now_unix_ms()))?;
        }
        Ok(exit::DONE)
    }

    async fn logs(&mut self, words: &str) -> Result<u8, Failure> {
        let follow = if self.request.follow { "1" } else { "0" };
        let path = query("/v1/logs", &[("q", words), ("follow", follow), ("limit", "1000")]);
        let mut lines = self.client.stream(&path).await?;
        while let Some(item) = lines.next::<Item<LogItem>>().await? {
            if self.request.json {
                self.output.object(&item.body)?;
            } else {
                self.output.line(&report::log_item(&item.body))?;
            }
        }
        Ok(exit::DONE)
    }

    async fn import(&mut self) -> Result<u8, Failure> {
        let file = self.request.words.get(1).map(PathBuf::from).unwrap_or_default();
        let dry_run = self.request.dry_run;
        let reading = tokio::task::spawn_blocking(move || {
            importing::read(&file, dry_run).map_err(|error| format!("{}: {error}", file.display()))
        });
        let rows = reading.await.unwrap_or_else(|error| Err(error.to_string())).map_err(Failure::Failed)?;
        let report: ImportReport = self.client.post("/v1/import/octoprox", &rows).await?;
        if self.request.json {
            self.output.object(&report)?;
        } else {
            self.output.lines(&importing::report(&report))?;
        }
        Ok(exit::DONE)
    }

    async fn planned(&self) -> Result<Plan, Failure> {
        let hello: Hello = self.client.get("/v1/hello").await?;
        let name = self.request.words.first().map(String::as_str).unwrap_or_default();
        let spec = cli::runbook(name, &hello.runbooks)?;
        let params = cli::params(spec, &self.request.params)?;
        Ok(self.client.post("/v1/plans", &PlanRequest { runbook: spec.id.clone(), params }).await?)
    }

    fn print_plan(&mut self, plan: &Plan) -> Result<(), Failure> {
        if self.request.json {
            self.output.object(plan)?;
        } else {
            self.output.lines(&report::plan(plan, clock::now_unix_ms()))?;
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<u8, Failure> {
        let plan = self.planned().await?;
        self.print_plan(&plan)?;
        Ok(if plan.blocked() { exit::FAILED } else { exit::DONE })
    }

    async fn run(&mut self) -> Result<u8, Failure> {
        let named = self.request.plan.clone().unwrap_or_default();
        if named.len() < DIGEST_MIN {
            return Err(Usage(format!(
                "--plan {named}: expected at least {DIGEST_MIN} digits of the digest"
            ))
            .into());
        }
        let plan = self.planned().await?;
        if !plan.digest.starts_with(&named) {
            self.print_plan(&plan)?;
            return Err(Failure::Outdated(named));
        }
        if plan.blocked() {
            self.print_plan(&plan)?;
            return Err(Failure::Failed("the examination found what forbids it".to_owned()));
        }
        if plan.tier == Tier::NameReason && self.request.reason.as_deref().is_none_or(str::is_empty) {
            return Err(
                Usage("this plan needs --reason TEXT, which is kept in the audit record".to_owned()).into()
            );
        }
        if let Some(risk) = plan.risks.iter().find(|risk| !self.request.accept.contains(risk)) {
            let name = report::risk_name(*risk);
            return Err(
                Usage(format!("this plan has a risk; accept it by name: --accept-risk {name}")).into()
            );
        }
        let start = StartRequest {
            plan: plan.digest.clone(),
            confirm: Some(plan.confirm_word.clone()).filter(|word| !word.is_empty()),
            reason: self.request.reason.clone(),
            accept_risks: self.request.accept.clone(),
            ssh_connection: self.ssh_connection.map(str::to_owned),
        };
        let run: RunSummary = match self.client.post("/v1/runs", &start).await {
            Ok(run) => run,
            Err(error) => {
                let failure = Failure::Client(error);
                if failure.code() == exit::OUTDATED {
                    let plan = self.planned().await?;
                    self.print_plan(&plan)?;
                }
                return Err(failure);
            }
        };
        if self.request.follow {
            return self.follow(run.id.as_str()).await;
        }
        if self.request.json {
            self.output.object(&run)?;
        } else {
            self.output.line(&format!("run {} {}", run.id, report::run_state(run.state)))?;
        }
        Ok(exit::DONE)
    }

    /// Follows a run to its end, over a restart of the daemon if need be.
    async fn follow(&mut self, run: &str) -> Result<u8, Failure> {
        let path = query(&format!("/v1/runs/{}", encoded(run)), &[("follow", "1")]);
        let mut next = 0;
        for _ in 0..FOLLOW_TRIES {
            if let Ok(mut lines) = self.client.stream(&path).await {
                while let Ok(Some(event)) = lines.next::<RunEvent>().await {
                    if event.seq < next {
                        continue;
                    }
                    next = event.seq + 1;
                    if self.request.json {
                        self.output.object(&event)?;
                    } else {
                        self.output.line(&report::run_event(&event))?;
                    }
                    if let RunEventKind::Finished { state, .. } = event.kind {
                        return Ok(if state == RunState::Done { exit::DONE } else { exit::FAILED });
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(Failure::Failed(format!("run {run} cannot be followed any longer; see gatehouse runs")))
    }
}
