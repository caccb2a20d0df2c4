//! Plans: what a runbook proposes becomes a plan with a digest; the plans held are those that may be started.

use gatehouse_common::ids::Revision;
use gatehouse_common::limits::{PLAN_VALID_SECS, PLANS_HELD};
use gatehouse_common::ops::runs::PlanRequest;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Finding, Plan, Risk, RunbookSpec, Step, Tier, Verdict};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

/// Hex digits of a digest: 64 bits, among the few plans held at once.
const DIGEST_CHARS: usize = 16;

/// What a runbook proposes after its examination.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) title: String,
    pub(crate) findings: Vec<Finding>,
    pub(crate) steps: Vec<Step>,
    pub(crate) changes: Vec<String>,
    pub(crate) verify: Vec<String>,
    pub(crate) risks: Vec<Risk>,
    pub(crate) tier: Tier,
    pub(crate) confirm_word: String,
    /// What was read, as far as the words above do not say it: a change of it makes another plan.
    pub(crate) fingerprint: String,
    pub(crate) revision: Revision,
}

/// `[ok]`
pub(crate) fn good(text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Ok, text: text.into(), remedy: None }
}

/// `[!!]`
pub(crate) fn warn(text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Warn, text: text.into(), remedy: None }
}

/// `[XX]`
pub(crate) fn block(text: impl Into<String>, remedy: &str) -> Finding {
    Finding { verdict: Verdict::Block, text: text.into(), remedy: Some(remedy.to_owned()) }
}

/// A step.
pub(crate) fn step(name: &str, effect: String, undo: Option<&str>) -> Step {
    Step { name: name.to_owned(), effect, undo: undo.map(str::to_owned), expected_ms: None }
}

/// The plan of a proposal. Findings and expected times may differ from one look to the next and are not part of
/// the digest; what is done, to what, and how it is confirmed are.
pub(crate) fn plan(request: &PlanRequest, proposal: Proposal, now_ms: i64) -> Plan {
    let steps: Vec<_> = proposal.steps.iter().map(|step| (&step.name, &step.effect, &step.undo)).collect();
    let covered = json!([
        request.runbook,
        request.params,
        proposal.title,
        steps,
        proposal.changes,
        proposal.verify,
        proposal.risks,
        proposal.tier,
        proposal.confirm_word,
        proposal.fingerprint,
    ]);
    let mut digest = hex::encode(Sha256::digest(covered.to_string()));
    digest.truncate(DIGEST_CHARS);
    let mut command = format!("gatehouse run {}", request.runbook);
    for (name, value) in &request.params {
        command.push_str(&format!(" --{name} {}", quoted(value)));
    }
    command.push_str(&format!(" --plan {digest}"));
    if proposal.tier == Tier::NameReason {
        command.push_str(" --reason TEXT");
    }
    Plan {
        digest,
        runbook: request.runbook.clone(),
        title: proposal.title,
        params: request.params.clone(),
        revision: proposal.revision,
        findings: proposal.findings,
        steps: proposal.steps,
        changes: proposal.changes,
        verify: proposal.verify,
        risks: proposal.risks,
        tier: proposal.tier,
        confirm_word: proposal.confirm_word,
        valid_until_unix_ms: now_ms + PLAN_VALID_SECS * 1_000,
        command,
    }
}

/// As a shell takes it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// The parameters against the runbook's own list.
pub(crate) fn check_params(spec: &RunbookSpec, request: &PlanRequest) -> Result<(), Problem> {
    let names: Vec<&str> = spec.params.iter().map(|param| param.name.as_str()).collect();
    let expected = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if let Some(name) = request.params.keys().find(|name| !names.contains(&name.as_str())) {
        let text = format!("{}: unknown parameter {name:?}; expected: {expected}", spec.id);
        return Err(Problem::new(Code::BadInput, text).at(format!("params.{name}")));
    }
    for param in spec.params.iter().filter(|param| param.required) {
        if request.params.get(&param.name).is_none_or(|value| value.trim().is_empty()) {
            let text = format!("{}: parameter {:?} is missing: {}", spec.id, param.name, param.help);
            return Err(Problem::new(Code::BadInput, text).at(format!("params.{}", param.name)));
        }
    }
    Ok(())
}

/// The plans that may be started.
#[derive(Debug, Default)]
pub(crate) struct Plans(RwLock<VecDeque<Plan>>);

impl Plans {
    /// Holds a plan; the same one again has a new validity.
    pub(crate) fn hold(&self, plan: &Plan) {
        let mut plans = self.0.write().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|known| known.digest != plan.digest);
        if plans.len() >= PLANS_HELD {
            plans.pop_front();
        }
        plans.push_back(plan.clone());
    }

    /// The plan of a digest, if it is still valid.
    pub(crate) fn held(&self, digest: &str, now_ms: i64) -> Result<Plan, Problem> {
        let plans = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.iter().find(|plan| plan.digest == digest).cloned();
        drop(plans);
        let plan = plan.ok_or_else(|| {
            let text =
                format!("no plan of digest {digest:?} is held; plans end with the daemon and after a while");
            Problem::new(Code::PlanExpired, text).at("plan")
        })?;
        if plan.valid_until_unix_ms <= now_ms {
            let text = format!("the plan was valid for {PLAN_VALID_SECS} s and has expired");
            return Err(Problem::new(Code::PlanExpired, text).at("plan"));
        }
        Ok(plan)
    }

    /// A plan is started once.
    pub(crate) fn spend(&self, digest: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|plan| plan.digest != digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal() -> Proposal {
        Proposal {
            title: "T".to_owned(),
            findings: vec![good("5 s ago")],
            steps: vec![step("a", "does a".to_owned(), None)],
            changes: vec!["1 thing".to_owned()],
            verify: Vec::new(),
            risks: Vec::new(),
            tier: Tier::Name,
            confirm_word: "ana".to_owned(),
            fingerprint: "1".to_owned(),
            revision: Revision(3),
        }
    }

    #[test]
    fn the_digest_covers_what_is_done_and_not_when_it_was_looked_at() {
        let request =
            PlanRequest { runbook: "r".to_owned(), params: [("user".to_owned(), "a b".to_owned())].into() };
        let first = plan(&request, proposal(), 1);
        let later = Proposal { findings: vec![good("9 s ago")], revision: Revision(4), ..proposal() };
        assert_eq!(plan(&request, later, 2).digest, first.digest);
        for other in [
            Proposal { fingerprint: "2".to_owned(), ..proposal() },
            Proposal { changes: Vec::new(), ..proposal() },
            Proposal { tier: Tier::Yes, ..proposal() },
        ] {
            assert_ne!(plan(&request, other, 1).digest, first.digest);
        }
        assert_eq!(first.command, format!("gatehouse run r --user 'a b' --plan {}", first.digest));
    }

    #[test]
    fn a_plan_expires() {
        let plans = Plans::default();
        let made = plan(&PlanRequest::default(), proposal(), 0);
        plans.hold(&made);
        assert!(plans.held(&made.digest, PLAN_VALID_SECS * 1_000 - 1).is_ok());
        assert_eq!(plans.held(&made.digest, PLAN_VALID_SECS * 1_000).unwrap_err().code, "GH-PLAN-EXPIRED");
        plans.spend(&made.digest);
        assert!(plans.held(&made.digest, 1).is_err());
    }
}
