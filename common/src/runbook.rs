//! Runbooks as data: what they are, what they plan, what happened. The console knows no more than this.

use crate::ids::{Revision, RunId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the operator must do to start a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Starts from the plan page without a word.
    Safe,
    /// Type `yes`.
    Yes,
    /// Type the name the plan gives.
    Name,
    /// Type the name and give a reason, which is kept.
    NameReason,
}

impl Tier {
    /// Short words for lists.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Yes => "yes",
            Self::Name => "name",
            Self::NameReason => "name, reason",
        }
    }
}

/// A named risk, accepted by name only (`--accept-risk lose-ssh`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Your own SSH session would end.
    LoseSsh,
    /// This console's connection to the daemon is cut and made again.
    LoseConsole,
    /// Changes made since are lost.
    LoseChanges,
}

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Free text.
    Text,
    /// A consumer's name, completed from `/v1/consumers`.
    Consumer,
    /// A backup's file name, completed from the plan's `choices`.
    Backup,
}

/// One parameter of a runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Name; the flag is `--name`.
    pub name: String,
    /// What it takes.
    pub kind: ParamKind,
    /// Whether it must be given.
    pub required: bool,
    /// One line of help.
    pub help: String,
}

/// A runbook as the console lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookSpec {
    /// Stable id: `revoke_tokens`.
    pub id: String,
    /// Title.
    pub title: String,
    /// Heading it is listed under.
    pub group: String,
    /// What it does and when to use it; what it cannot undo.
    pub about: String,
    /// The usual tier; a plan may be of a higher one.
    pub tier: Tier,
    /// Parameters in the order they are asked.
    pub params: Vec<Param>,
    /// What only one run at a time may hold.
    pub exclusive: Option<String>,
}

/// How a finding of the examination counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// `[ok]`
    Ok,
    /// `[!!]`
    Warn,
    /// `[XX]`: no plan is made.
    Block,
}

/// One finding of the examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it counts.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do about it.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// One step of a plan, in words and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Stable name within the runbook.
    pub name: String,
    /// What it does.
    pub effect: String,
    /// How it is undone; `None` means it cannot be.
    pub undo: Option<String>,
    /// Expected time from past runs, milliseconds.
    #[serde(default)]
    pub expected_ms: Option<u64>,
}

/// A plan: what would be done, to be confirmed as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Hex digest over runbook, parameters, steps and the revision of all that was read.
    pub digest: String,
    /// Runbook id.
    pub runbook: String,
    /// Title of this very plan.
    pub title: String,
    /// Parameters, secrets masked.
    pub params: BTreeMap<String, String>,
    /// Revision read.
    pub revision: Revision,
    /// Findings of the examination.
    pub findings: Vec<Finding>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// What changes, in counts: `tokens 3 revoked`.
    pub changes: Vec<String>,
    /// What the last step's verification will probe.
    pub verify: Vec<String>,
    /// Named risks.
    #[serde(default)]
    pub risks: Vec<Risk>,
    /// Tier of this plan.
    pub tier: Tier,
    /// The word to type for this plan; empty for [`Tier::Safe`].
    pub confirm_word: String,
    /// Unix milliseconds until which it may be started.
    pub valid_until_unix_ms: i64,
    /// The command line that runs exactly this.
    pub command: String,
}

impl Plan {
    /// True when a finding forbids to run it.
    #[must_use]
    pub fn blocked(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Block)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps are being done.
    Running,
    /// A stop was asked for; it ends at the next safe point.
    Stopping,
    /// All steps done and verified.
    Done,
    /// Steps done, but the probe of the world disagreed.
    Unverified,
    /// A step failed and the finished ones were undone.
    Undone,
    /// A step failed and something could not be undone.
    Failed,
    /// Stopped at a safe point and undone where possible.
    Stopped,
}

impl RunState {
    /// True when nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Stopping)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Begun.
    Running,
    /// Finished.
    Done,
    /// Failed.
    Failed,
    /// Its undo is running or ran.
    Undone,
    /// Its undo failed.
    UndoFailed,
}

/// One event of a run, as streamed by `GET /v1/runs/{id}?follow=1` and kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEvent {
    /// The run.
    pub run: RunId,
    /// Position in the run, from 0.
    pub seq: u64,
    /// Unix milliseconds.
    pub at_unix_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEventKind {
    /// Accepted: the plan as confirmed, by whom, why.
    Started {
        /// The plan.
        plan: Box<Plan>,
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// A step changed state.
    Step {
        /// Index in the plan.
        index: usize,
        /// Step name.
        name: String,
        /// New state.
        state: StepState,
        /// Result or error in words.
        detail: String,
    },
    /// Somebody asked it to stop; it does so at its next safe point, also after a restart of the daemon.
    StopAsked {
        /// Who.
        actor: String,
    },
    /// What is done will be undone, and nothing more be done.
    Undoing {
        /// Why.
        why: String,
        /// Where it ends when everything can be undone.
        ending: RunState,
    },
    /// A line of output.
    Output {
        /// Text, control characters removed.
        text: String,
    },
    /// The probe of the world.
    Verified {
        /// Whether it agreed.
        ok: bool,
        /// What was probed and seen.
        detail: String,
    },
    /// The end.
    Finished {
        /// Final state.
        state: RunState,
        /// In words.
        summary: String,
    },
}
