//! From a runbook to its verdict: parameters, plan, confirmation, run. Nothing here knows any runbook.

use crate::client::ClientError;
use crate::commands::Cmd;
use crate::event::{Answer, Effect, Key, Stream, Topic};
use crate::screens::Act;
use crate::widgets::ask::{self, Asking, Names};
use crate::widgets::confirm::{Confirm, Outcome};
use crate::widgets::plan::PlanPage;
use crate::widgets::steps::RunPage;
use crate::world::World;
use gatehouse_common::ids::RunId;
use gatehouse_common::ops::runs::{PlanRequest, RunSummary, StartRequest};
use gatehouse_common::runbook::{Plan, RunEvent};
use std::collections::BTreeMap;

/// Where the operator is.
#[derive(Debug, Default)]
pub(crate) enum Page {
    /// The list of runbooks and runs.
    #[default]
    List,
    Asking(Box<Asking>),
    /// The daemon was asked; what for.
    Waiting(String),
    Plan(Box<PlanPage>),
    Run(Box<RunPage>),
}

/// How the plan shown was asked for, to ask again.
#[derive(Debug, Clone)]
enum Origin {
    Runbook(PlanRequest),
    UndoOf(RunId),
}

/// The flow.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) page: Page,
    origin: Option<Origin>,
    /// What to say above the next plan.
    note: String,
    /// The reason that was being typed when the daemon restarted.
    kept: String,
    /// The plan that was sent to be run, until the answer.
    sent: Option<Box<PlanPage>>,
}

fn in_words(error: &ClientError) -> String {
    let remedy = error.problem().and_then(|problem| problem.remedy.as_ref());
    match remedy {
        Some(remedy) => format!("{error} {remedy}"),
        None => error.to_string(),
    }
}

/// Names for completion.
pub(crate) fn names(world: &World) -> Names<'_> {
    Names {
        consumers: world.consumers.iter().flat_map(|page| &page.items).map(|one| one.id.as_str()).collect(),
        backups: world.backups.iter().flat_map(|page| &page.items).map(|one| one.name.as_str()).collect(),
    }
}

impl Flow {
    /// Asks for the parameters of a runbook that are not given yet.
    pub(crate) fn begin(&mut self, world: &World, id: &str, given: BTreeMap<String, String>) -> Vec<Act> {
        let Some(spec) = world.runbook(id) else {
            return vec![Act::Say(format!("{id}: the daemon has no such runbook"))];
        };
        let asking = Asking::of(spec.clone(), given);
        if asking.current().is_none() {
            return self.plan(Origin::Runbook(PlanRequest { runbook: asking.spec.id, params: asking.given }));
        }
        self.page = Page::Asking(Box::new(asking));
        Vec::new()
    }

    fn plan(&mut self, origin: Origin) -> Vec<Act> {
        let effect = match &origin {
            Origin::Runbook(request) => Effect::Plan(request.clone()),
            Origin::UndoOf(run) => Effect::UndoPlan(run.clone()),
        };
        self.page = Page::Waiting("examining and planning; nothing is done".to_owned());
        self.origin = Some(origin);
        vec![Act::Do(effect)]
    }

    fn again(&mut self, note: String) -> Vec<Act> {
        self.note = note;
        self.origin.clone().map(|origin| self.plan(origin)).unwrap_or_default()
    }

    /// Plans the undo of a run.
    pub(crate) fn undo(&mut self, run: RunId) -> Vec<Act> {
        self.plan(Origin::UndoOf(run))
    }

    /// Watches a run.
    pub(crate) fn watch(&mut self, run: RunId, title: String) -> Vec<Act> {
        self.page = Page::Run(Box::new(RunPage::of(run.clone(), title)));
        vec![Act::Follow(Topic::Run(run))]
    }

    /// A plan came, or why there is none. One nobody waits for any more is let go.
    pub(crate) fn planned(&mut self, answer: Answer<Box<Plan>>) -> Vec<Act> {
        if !matches!(self.page, Page::Waiting(_)) || self.sent.is_some() {
            return Vec::new();
        }
        let note = std::mem::take(&mut self.note);
        match answer {
            Ok(plan) => {
                self.page = Page::Plan(Box::new(PlanPage::of(*plan, note)));
                Vec::new()
            }
            Err(error) => {
                self.page = Page::List;
                vec![Act::Say(in_words(&error))]
            }
        }
    }

    /// The run began, or why not.
    pub(crate) fn started(&mut self, answer: Answer<RunSummary>) -> Vec<Act> {
        let Some(mut page) = self.sent.take() else { return Vec::new() };
        match answer {
            Ok(run) => {
                let mut acts = self.watch(run.id, run.title);
                acts.push(Act::Do(Effect::Fetch(crate::event::Ask::Runs)));
                acts
            }
            Err(error) => {
                let code = error.problem().map(|problem| problem.code.clone()).unwrap_or_default();
                if ["GH-PLAN-OUTDATED", "GH-PLAN-EXPIRED"].contains(&code.as_str()) {
                    return self.again(format!("not run: {error}. This is the new plan"));
                }
                page.note = match &error {
                    ClientError::Problem(_) => format!("not run: {}", in_words(&error)),
                    // The request may have arrived; only the list of runs tells.
                    _ => format!("no answer ({error}); whether it began, the list of runs tells"),
                };
                page.confirm = None;
                self.page = Page::Plan(page);
                Vec::new()
            }
        }
    }

    /// An event of the run being watched.
    pub(crate) fn event(&mut self, event: &RunEvent) {
        if let Page::Run(page) = &mut self.page {
            page.event(event);
        }
    }

    /// The answer to a stop.
    pub(crate) fn stop_asked(&mut self, answer: Answer<RunSummary>) -> Vec<Act> {
        let words = match answer {
            Ok(_) => "asked to stop; it ends at the next safe point".to_owned(),
            Err(error) => in_words(&error),
        };
        if let Page::Run(page) = &mut self.page {
            page.note.clone_from(&words);
        }
        vec![Act::Say(words)]
    }

    /// The run to follow after a reconnect.
    pub(crate) fn topic(&self) -> Option<Topic> {
        match &self.page {
            Page::Run(page) if page.finished.is_none() => Some(Topic::Run(page.id.clone())),
            _ => None,
        }
    }

    /// The daemon is another one: what it planned is void.
    pub(crate) fn restarted(&mut self) -> bool {
        match &mut self.page {
            Page::Plan(page) => {
                if let Some(confirm) = page.confirm.take() {
                    confirm.reason().clone_into(&mut self.kept);
                }
                page.void = Some("daemon restarted, plan void; r plans it anew".to_owned());
                "daemon restarted, plan void".clone_into(&mut page.note);
                true
            }
            Page::Waiting(_) if self.sent.is_none() => {
                self.page = Page::List;
                true
            }
            _ => false,
        }
    }

    /// What is shown is on the screen now.
    pub(crate) fn drawn(&mut self) {
        if let Page::Plan(page) = &mut self.page
            && let Some(confirm) = &mut page.confirm
        {
            confirm.drawn();
        }
    }

    /// A key while something is typed here.
    pub(crate) fn typed(&mut self, world: &World, key: Key) -> Option<Vec<Act>> {
        match &mut self.page {
            Page::Asking(asking) => Some(match asking.key(key, &names(world)) {
                ask::Outcome::Open => Vec::new(),
                ask::Outcome::Left => {
                    self.page = Page::List;
                    Vec::new()
                }
                ask::Outcome::Complete => {
                    let request =
                        PlanRequest { runbook: asking.spec.id.clone(), params: asking.given.clone() };
                    self.plan(Origin::Runbook(request))
                }
            }),
            Page::Plan(page) if page.typing() => {
                let outcome = page.confirm.as_mut().map_or(Outcome::Left, |confirm| confirm.key(key));
                Some(match outcome {
                    Outcome::Open | Outcome::Aside => Vec::new(),
                    Outcome::Left => {
                        page.confirm = None;
                        "left, nothing done".clone_into(&mut page.note);
                        Vec::new()
                    }
                    Outcome::Confirmed { word, reason } => self.start(world, word, reason),
                })
            }
            _ => None,
        }
    }

    fn start(&mut self, world: &World, word: Option<String>, reason: Option<String>) -> Vec<Act> {
        let Page::Plan(page) = &mut self.page else { return Vec::new() };
        page.confirm = None;
        if let Err(why) = world.may_operate().and_then(|()| page.startable(world.now_ms)) {
            page.note = format!("not run: {why}");
            return Vec::new();
        }
        let request = StartRequest {
            plan: page.plan.digest.clone(),
            confirm: word,
            reason,
            accept_risks: page.plan.risks.clone(),
            // Filled in where the environment is known.
            ssh_connection: None,
        };
        let waiting = Page::Waiting("starting".to_owned());
        if let Page::Plan(page) = std::mem::replace(&mut self.page, waiting) {
            self.sent = Some(page);
        }
        vec![Act::Do(Effect::Start(Box::new(request)))]
    }

    /// Pasted text.
    pub(crate) fn paste(&mut self, text: &str) {
        match &mut self.page {
            Page::Asking(asking) => asking.paste(text),
            Page::Plan(page) => {
                if let Some(confirm) = &mut page.confirm {
                    confirm.paste();
                }
            }
            _ => {}
        }
    }

    /// A command on a page; `None` when the list is shown.
    pub(crate) fn act(&mut self, world: &World, cmd: Cmd) -> Option<Vec<Act>> {
        Some(match &mut self.page {
            Page::List => return None,
            Page::Asking(_) => Vec::new(),
            Page::Waiting(_) => {
                // Once sent, the answer is waited for: leaving would hide whether it began.
                if cmd == Cmd::Back && self.sent.is_none() {
                    self.page = Page::List;
                }
                Vec::new()
            }
            Page::Plan(page) => match cmd {
                Cmd::Confirm => {
                    match world.may_operate().and_then(|()| page.startable(world.now_ms)) {
                        Ok(()) => match &mut page.confirm {
                            Some(confirm) => confirm.focused = true,
                            None => {
                                let reason = std::mem::take(&mut self.kept);
                                page.confirm = Some(Confirm::of(&page.plan, &reason));
                            }
                        },
                        Err(why) => page.note = format!("cannot be started: {why}"),
                    }
                    Vec::new()
                }
                Cmd::Retry => self.again("planned anew".to_owned()),
                Cmd::Up => {
                    page.first = page.first.saturating_sub(1);
                    Vec::new()
                }
                Cmd::Down => {
                    page.first = (page.first + 1).min(1_000);
                    Vec::new()
                }
                Cmd::Copy | Cmd::CopyCommand => vec![Act::Do(Effect::Copy(page.plan.command.clone()))],
                Cmd::Back => {
                    self.page = Page::List;
                    vec![Act::Say("left, nothing done".to_owned())]
                }
                _ => Vec::new(),
            },
            Page::Run(page) => match cmd {
                Cmd::Stop if page.finished.is_none() => vec![Act::Do(Effect::Stop(page.id.clone()))],
                Cmd::Stop => vec![Act::Say("the run is over".to_owned())],
                Cmd::Undo => {
                    let run = page.id.clone();
                    self.undo(run)
                }
                Cmd::Pause => {
                    page.pause();
                    Vec::new()
                }
                Cmd::Copy => vec![Act::Do(Effect::Copy(page.id.0.clone()))],
                Cmd::CopyCommand => {
                    let command = page.plan.as_ref().map(|plan| plan.command.clone()).unwrap_or_default();
                    vec![Act::Do(Effect::Copy(command))]
                }
                Cmd::Back => {
                    let over = page.finished.is_some();
                    self.page = Page::List;
                    let goes_on = Act::Say("the run goes on in the daemon".to_owned());
                    let unfollow = Act::Do(Effect::Unfollow(Stream::Run));
                    if over { vec![unfollow] } else { vec![unfollow, goes_on] }
                }
                _ => Vec::new(),
            },
        })
    }
}
