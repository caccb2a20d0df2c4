//! Nothing is started by reflex: what the update must refuse, and the one way through.

use crate::client::ClientError;
use crate::event::{Effect, Event, Key};
use crate::samples::{self, NOW};
use crate::snapshots::{drawn, live, planned, press, type_text};
use gatehouse_common::ops::hello::Door;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Finding, Tier, Verdict};

fn starts(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Start(_)))
}

const TYPED: [(Tier, &str); 3] = [(Tier::Yes, "yes"), (Tier::Name, "acme"), (Tier::NameReason, "acme")];

#[test]
fn enter_alone_starts_nothing() {
    for (tier, word) in TYPED {
        let mut app = planned(Door::Operate, tier, word);
        assert!(!starts(&press(&mut app, &[Key::Enter; 4])));
        press(&mut app, &[Key::Char('x')]);
        assert!(!starts(&press(&mut app, &[Key::Enter; 8])), "{tier:?}");
    }
}

#[test]
fn a_plan_without_a_word_cannot_be_confirmed_by_an_empty_line() {
    let mut app = planned(Door::Operate, Tier::Name, "");
    assert!(!starts(&press(&mut app, &[Key::Char('x'), Key::Enter, Key::Enter, Key::Enter])));
}

#[test]
fn a_wrong_word_starts_nothing() {
    for (tier, word) in TYPED {
        let mut app = planned(Door::Operate, tier, word);
        press(&mut app, &[Key::Char('x')]);
        type_text(&mut app, "because");
        press(&mut app, &[Key::Enter]);
        for wrong in ["acm", "ACME", "y", "acmee"] {
            type_text(&mut app, wrong);
            assert!(!starts(&press(&mut app, &[Key::Enter])), "{tier:?} {wrong}");
        }
        assert!(drawn(&app, (80, 24)).contains("nothing done"));
    }
}

#[test]
fn pasted_text_is_refused() {
    let mut app = planned(Door::Operate, Tier::Name, "acme");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    let pasted = app.update(NOW, Event::Paste("acme\n".into()));
    assert!(!starts(&pasted) && !starts(&press(&mut app, &[Key::Enter])));
}

#[test]
fn keys_from_before_the_line_was_drawn_are_thrown_away() {
    let mut app = planned(Door::Operate, Tier::Name, "acme");
    let early = app.framed();
    for key in [
        Key::Char('x'),
        Key::Enter,
        Key::Char('a'),
        Key::Char('c'),
        Key::Char('m'),
        Key::Char('e'),
        Key::Enter,
    ] {
        assert!(!starts(&app.update(NOW, Event::Key(key))));
        // A frame from before the key does not count as drawn.
        app.update(NOW, Event::Drawn(early));
    }
}

#[test]
fn an_expired_plan_starts_nothing() {
    let mut app = planned(Door::Operate, Tier::Yes, "yes");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    type_text(&mut app, "yes");
    let late = app.update(NOW + 300_000, Event::Key(Key::Enter));
    assert!(!starts(&late));
    assert!(drawn(&app, (80, 24)).contains("expired"));
}

#[test]
fn a_blocked_plan_starts_nothing() {
    let mut app = planned(Door::Operate, Tier::Safe, "");
    let mut plan = samples::plan(Tier::Safe, "");
    plan.findings.push(Finding { verdict: Verdict::Block, text: "disk full".into(), remedy: None });
    press(&mut app, &[Key::Char('r')]);
    app.update(NOW, Event::Planned(Ok(Box::new(plan))));
    assert!(!starts(&press(&mut app, &[Key::Char('x'), Key::Enter, Key::Enter])));
}

#[test]
fn the_view_socket_starts_nothing() {
    for (tier, word) in [(Tier::Safe, ""), (Tier::Yes, "yes")] {
        let mut app = planned(Door::View, tier, word);
        press(&mut app, &[Key::Char('x'), Key::Enter]);
        type_text(&mut app, word);
        assert!(!starts(&press(&mut app, &[Key::Enter])));
        assert!(drawn(&app, (80, 24)).contains("operate socket"));
    }
}

#[test]
fn a_restart_voids_the_plan_and_keeps_the_rest() {
    let mut app = planned(Door::Operate, Tier::Yes, "yes");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    let mut hello = samples::hello(Door::Operate);
    hello.boot = "b2".into();
    app.update(NOW, Event::Hello(Ok(Box::new(hello))));
    type_text(&mut app, "yes");
    assert!(!starts(&press(&mut app, &[Key::Enter])));
    press(&mut app, &[Key::Char('5')]);
    assert!(drawn(&app, (80, 24)).contains("daemon restarted, plan void"));
}

#[test]
fn a_restart_keeps_what_is_typed() {
    let mut app = live(Door::Operate);
    press(&mut app, &[Key::Char('2'), Key::Char('/')]);
    type_text(&mut app, "bill");
    let mut hello = samples::hello(Door::Operate);
    hello.boot = "b2".into();
    let effects = app.update(NOW, Event::Hello(Ok(Box::new(hello))));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Follow(..))), "subscribed again");
    assert!(drawn(&app, (80, 24)).contains("/ bill_"));
}

#[test]
fn a_reason_that_was_being_typed_is_there_for_the_plan_made_anew_and_the_word_is_not() {
    let mut app = planned(Door::Operate, Tier::NameReason, "acme");
    press(&mut app, &[Key::Char('x')]);
    type_text(&mut app, "key leaked");
    let mut hello = samples::hello(Door::Operate);
    hello.boot = "b2".into();
    app.update(NOW, Event::Hello(Ok(Box::new(hello))));
    press(&mut app, &[Key::Char('r')]);
    app.update(NOW, Event::Planned(Ok(Box::new(samples::plan(Tier::NameReason, "acme")))));
    press(&mut app, &[Key::Char('x')]);
    assert!(drawn(&app, (80, 24)).contains("key leaked_"));
    assert!(!starts(&press(&mut app, &[Key::Enter, Key::Enter])), "the word is to be typed");
}

#[test]
fn the_one_way_through() {
    let mut app = planned(Door::Operate, Tier::NameReason, "acme");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    type_text(&mut app, "key leaked");
    press(&mut app, &[Key::Enter]);
    type_text(&mut app, "acme");
    let effects = press(&mut app, &[Key::Enter]);
    let [Effect::Start(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(request.plan, samples::plan(Tier::Safe, "").digest);
    assert_eq!((request.confirm.as_deref(), request.reason.as_deref()), (Some("acme"), Some("key leaked")));
    // The same keys again start nothing a second time.
    assert!(!starts(&press(&mut app, &[Key::Enter, Key::Enter])));
}

#[test]
fn a_safe_plan_runs_by_x_and_enter() {
    let mut app = planned(Door::Operate, Tier::Safe, "");
    assert!(!starts(&press(&mut app, &[Key::Char('x')])));
    assert!(starts(&press(&mut app, &[Key::Enter])));
}

#[test]
fn a_world_that_moved_is_planned_anew_and_shown() {
    let mut app = planned(Door::Operate, Tier::Safe, "");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    let problem = Problem::new(Code::PlanOutdated, "revision 215 is served");
    let effects = app.update(NOW, Event::Started(Err(ClientError::Problem(Box::new(problem)))));
    assert!(matches!(effects.as_slice(), [Effect::Plan(_)]), "{effects:?}");
    app.update(NOW, Event::Planned(Ok(Box::new(samples::plan(Tier::Safe, "")))));
    assert!(drawn(&app, (160, 48)).contains("This is the new plan"));
}

#[test]
fn every_runbook_is_reached_by_its_words() {
    for spec in samples::hello(Door::Operate).runbooks {
        let mut app = live(Door::Operate);
        press(&mut app, &[Key::Char(':')]);
        type_text(&mut app, &spec.id);
        let effects = press(&mut app, &[Key::Enter]);
        let asked = drawn(&app, (80, 24)).contains("Tab complete");
        let planned = effects.iter().any(|effect| matches!(effect, Effect::Plan(_)));
        assert!(asked || planned, "{}", spec.id);
    }
}

#[test]
fn another_protocol_is_looked_at_only() {
    let mut app = planned(Door::Operate, Tier::Safe, "");
    let mut hello = samples::hello(Door::Operate);
    hello.protocol = (7, 9);
    app.update(NOW, Event::Hello(Ok(Box::new(hello))));
    assert!(!starts(&press(&mut app, &[Key::Char('x'), Key::Enter])));
    assert!(drawn(&app, (80, 24)).contains("view only"));
}

#[test]
fn every_place_has_its_command_line() {
    for (digit, command) in [
        ('1', "status"),
        ('2', "routes"),
        ('3', "logs -f"),
        ('4', "consumers"),
        ('6', "audit"),
        ('7', "health"),
    ] {
        let mut app = live(Door::View);
        let effects = press(&mut app, &[Key::Char(digit), Key::Char('Y')]);
        let copied = Effect::Copy(format!("gatehouse {command}"));
        assert!(effects.contains(&copied), "{digit}: {effects:?}");
    }
    let mut app = planned(Door::Operate, Tier::Name, "acme");
    let effects = press(&mut app, &[Key::Char('Y')]);
    assert_eq!(effects, [Effect::Copy(samples::plan(Tier::Name, "acme").command)]);
}
