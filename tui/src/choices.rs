//! Entries of the palette: what can be gone to, and what fits a selection.

use crate::screens::ScreenId;
use crate::widgets::palette::{Entry, Target};
use crate::world::World;
use gatehouse_common::runbook::{ParamKind, RunbookSpec};
use std::collections::BTreeMap;

fn runbook(world: &World, spec: &RunbookSpec, params: BTreeMap<String, String>) -> Entry {
    let reason = world.may_operate().err();
    let given: Vec<_> = params.values().cloned().collect();
    Entry {
        words: spec.id.clone(),
        about: format!("{} {} ({})", spec.title, given.join(" "), spec.tier.words()),
        target: Target::Runbook(spec.id.clone(), params),
        reason: reason.map(|reason| format!("{}: {reason}", spec.id)),
    }
}

/// Every screen and runbook.
pub(crate) fn all(world: &World) -> Vec<Entry> {
    let screen = |id: &ScreenId| Entry {
        words: id.title().to_owned(),
        about: "screen".to_owned(),
        target: Target::Screen(*id),
        reason: None,
    };
    let runbooks = world.runbooks().iter().map(|spec| runbook(world, spec, BTreeMap::new()));
    let routes = world.routes.iter().flat_map(|page| &page.items).map(|route| Entry {
        words: route.name.clone(),
        about: "logs of this route".to_owned(),
        target: Target::Logs(format!("route:{}", route.name)),
        reason: None,
    });
    ScreenId::ALL.iter().map(screen).chain(runbooks).chain(routes).collect()
}

/// Every runbook.
pub(crate) fn runbooks(world: &World) -> Vec<Entry> {
    world.runbooks().iter().map(|spec| runbook(world, spec, BTreeMap::new())).collect()
}

/// Runbooks that take a consumer, with this one filled in.
pub(crate) fn for_consumer(world: &World, consumer: &str) -> Vec<Entry> {
    let filled = |spec: &RunbookSpec| {
        let param = spec.params.iter().find(|param| param.kind == ParamKind::Consumer)?;
        Some(runbook(world, spec, BTreeMap::from([(param.name.clone(), consumer.to_owned())])))
    };
    world.runbooks().iter().filter_map(filled).collect()
}
