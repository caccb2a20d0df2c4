//! Every screen and page at two sizes, as cells; and that nothing breaks them.

use crate::app::App;
use crate::client::ClientError;
use crate::draw;
use crate::event::{Ask, Effect, Event, Key, Rows};
use crate::glyphs::Glyphs;
use crate::samples::{self, NOW};
use crate::screens::ScreenId;
use crate::theme::{Colours, Look};
use gatehouse_common::ops::Item;
use gatehouse_common::ops::hello::Door;
use gatehouse_common::runbook::{RunState, Tier};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIZES: [(u16, u16); 2] = [(80, 24), (160, 48)];

pub(crate) fn look(ascii: bool) -> Look {
    Look { colours: Colours::Sixteen, glyphs: Glyphs { ascii }, frame_ms: 33, synchronised: false }
}

/// The number of the stream that an effect begins.
fn followed(effects: &[Effect]) -> u64 {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Follow(_, number) => Some(*number),
            _ => None,
        })
        .expect("a stream begins")
}

/// A console that has heard from the daemon.
pub(crate) fn live(door: Door) -> App {
    let mut app = App::new(look(false));
    let effects = app.update(NOW, Event::Hello(Ok(Box::new(samples::hello(door)))));
    let metrics = followed(&effects);
    for index in 0..60 {
        let item = Item { seq: index, body: samples::window(index) };
        app.update(NOW, Event::Window(metrics, Box::new(item)));
    }
    for (ask, rows) in [
        (Ask::Health, Rows::Health(samples::health())),
        (Ask::Routes, Rows::Routes(samples::routes())),
        (Ask::Consumers, Rows::Consumers(samples::consumers())),
        (Ask::Tokens, Rows::Tokens(samples::tokens())),
        (Ask::Sessions, Rows::Sessions(samples::sessions())),
        (Ask::Runs, Rows::Runs(vec![samples::run_summary("r1", RunState::Done)])),
        (Ask::Audit(String::new()), Rows::Audit(samples::audit())),
    ] {
        app.update(NOW, Event::Fetched(ask, Ok(rows)));
    }
    app
}

pub(crate) fn press(app: &mut App, keys: &[Key]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys {
        effects.extend(app.update(NOW, Event::Key(*key)));
        let frame = app.framed();
        app.update(NOW, Event::Drawn(frame));
    }
    effects
}

pub(crate) fn type_text(app: &mut App, text: &str) -> Vec<Effect> {
    let keys: Vec<_> = text.chars().map(Key::Char).collect();
    press(app, &keys)
}

/// A console with this plan shown.
pub(crate) fn planned(door: Door, tier: Tier, word: &str) -> App {
    let mut app = live(door);
    press(&mut app, &[Key::Char('5'), Key::Down, Key::Enter]);
    type_text(&mut app, "acme");
    let effects = press(&mut app, &[Key::Enter]);
    assert!(matches!(effects.as_slice(), [Effect::Plan(_)]), "{effects:?}");
    app.update(NOW, Event::Planned(Ok(Box::new(samples::plan(tier, word)))));
    let frame = app.framed();
    app.update(NOW, Event::Drawn(frame));
    app
}

pub(crate) fn drawn(app: &App, size: (u16, u16)) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    draw::frame(app, &mut buffer);
    let mut out = String::new();
    for row in buffer.content().chunks(usize::from(size.0)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn check(name: &str, app: &App) {
    for size in SIZES {
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), drawn(app, size));
    }
}

#[test]
fn screens() {
    for (index, id) in ScreenId::ALL.iter().enumerate() {
        let mut app = live(Door::Operate);
        let digit = char::from_digit(u32::try_from(index + 1).unwrap(), 10).unwrap();
        let effects = press(&mut app, &[Key::Char(digit)]);
        assert_eq!(app.at, *id);
        if *id == ScreenId::Logs {
            let number = followed(&effects);
            for seq in 0..24 {
                let item = Item { seq, body: samples::log_item(seq) };
                app.update(NOW, Event::Log(number, Box::new(item)));
            }
        }
        check(&id.title().to_lowercase(), &app);
    }
}

#[test]
fn plan_and_confirmation() {
    let mut app = planned(Door::Operate, Tier::NameReason, "acme");
    check("plan", &app);
    press(&mut app, &[Key::Char('x')]);
    type_text(&mut app, "key leaked");
    press(&mut app, &[Key::Enter]);
    type_text(&mut app, "acm");
    check("confirm", &app);
    check("plan_view", &planned(Door::View, Tier::Name, "acme"));
}

#[test]
fn run_page() {
    let mut app = planned(Door::Operate, Tier::Yes, "yes");
    press(&mut app, &[Key::Char('x'), Key::Enter]);
    type_text(&mut app, "yes");
    press(&mut app, &[Key::Enter]);
    let effects = app.update(NOW, Event::Started(Ok(samples::run_summary("r2", RunState::Running))));
    let number = followed(&effects);
    let events = samples::run_events("r2");
    for event in &events[..6] {
        app.update(NOW, Event::Run(number, Box::new(event.clone())));
    }
    check("run", &app);
    for event in &events[6..] {
        app.update(NOW, Event::Run(number, Box::new(event.clone())));
    }
    check("run_done", &app);
}

#[test]
fn not_well() {
    let mut app = live(Door::View);
    let away = ClientError::Unreachable { at: "/run/x".into(), why: "refused".into() };
    app.update(NOW + 41_000, Event::Hello(Err(away)));
    check("lost", &app);
    let mut app = live(Door::View);
    app.look = look(true);
    let text = drawn(&app, (80, 24));
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!("ascii_80x24", text);
    insta::assert_snapshot!("small_52x14", drawn(&app, (52, 14)));
    press(&mut app, &[Key::Char('?')]);
    app.look = look(false);
    check("help", &app);
    press(&mut app, &[Key::Esc, Key::Char(':')]);
    type_text(&mut app, "revo");
    check("palette", &app);
}

#[test]
fn access_offers_runbooks_filled_in() {
    let mut app = live(Door::Operate);
    press(&mut app, &[Key::Char('4'), Key::Down, Key::Down, Key::Char('R')]);
    check("access_runbooks", &app);
    let effects = press(&mut app, &[Key::Enter]);
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Plan(request)
        if request.runbook == "revoke_tokens" && request.params["consumer"] == "ana")),
        "{effects:?}"
    );
}

#[test]
fn hostile_text_never_reaches_the_cells() {
    let evil = "a\x1b[2J\u{202e}b\u{9b}31m\u{200b}\u{7}宽\u{301}";
    let mut app = live(Door::Operate);
    let mut hello = samples::hello(Door::Operate);
    hello.host = evil.into();
    hello.actor = evil.into();
    hello.runbooks[0].title = evil.into();
    hello.runbooks[0].id = evil.into();
    let effects = app.update(NOW, Event::Hello(Ok(Box::new(hello))));
    let mut window = samples::window(1);
    window.routes[0].name = evil.into();
    app.update(NOW, Event::Window(followed(&effects), Box::new(Item { seq: 0, body: window })));
    let mut routes = samples::routes();
    routes.items[0].name = evil.into();
    app.update(NOW, Event::Fetched(Ask::Routes, Ok(Rows::Routes(routes))));
    let mut health = samples::health();
    health[0].summary = evil.into();
    app.update(NOW, Event::Fetched(Ask::Health, Ok(Rows::Health(health))));
    let mut consumers = samples::consumers();
    consumers.items[0].id = evil.into();
    app.update(NOW, Event::Fetched(Ask::Consumers, Ok(Rows::Consumers(consumers))));
    let mut audit = samples::audit();
    audit.records[0].entry.object = evil.into();
    app.update(NOW, Event::Fetched(Ask::Audit(String::new()), Ok(Rows::Audit(audit))));
    for digit in '1'..='7' {
        press(&mut app, &[Key::Char(digit)]);
        for size in SIZES {
            let text = drawn(&app, size);
            let raw = text.chars().find(|c| {
                (c.is_control() && *c != '\n') || ['\u{200b}', '\u{202e}'].contains(c) || *c == '\u{301}'
            });
            assert_eq!(raw, None, "screen {digit}: {text}");
        }
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => prop::char::range(' ', '~').prop_map(Key::Char),
        4 => prop::sample::select(vec!['1', '2', '3', '4', '5', '6', '7', 'x', 'R', ':', '/', 'j', ' ']).prop_map(Key::Char),
        6 => prop::sample::select(vec![Key::Enter, Key::Esc, Key::Tab, Key::BackTab, Key::Backspace, Key::Delete,
            Key::Up, Key::Down, Key::Left, Key::Right, Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Ctrl('u'), Key::Ctrl('w')]),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => any_key().prop_map(Event::Key),
        1 => ".{0,12}".prop_map(Event::Paste),
        2 => Just(Event::Tick),
        2 => (0u64..40).prop_map(Event::Drawn),
        2 => (0u64..30).prop_map(|n| Event::Log(2, Box::new(Item { seq: n, body: samples::log_item(n) }))),
        1 => Just(Event::Planned(Ok(Box::new(samples::plan(Tier::Name, "acme"))))),
        1 => Just(Event::Planned(Ok(Box::new(samples::plan(Tier::Safe, ""))))),
        1 => Just(Event::Started(Ok(samples::run_summary("r2", RunState::Running)))),
        2 => (0usize..9, 1u64..5).prop_map(|(n, s)| Event::Run(s, Box::new(samples::run_events("r2")[n].clone()))),
        1 => Just(Event::Ended(crate::event::Stream::Metrics, 1)),
        1 => Just(Event::Hello(Err(ClientError::Protocol("x".into())))),
        1 => "[a-c]".prop_map(|boot| {
            let mut hello = samples::hello(Door::Operate);
            hello.boot = boot.into();
            Event::Hello(Ok(Box::new(hello)))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_events_on_random_sizes_never_panic(
        events in prop::collection::vec(any_event(), 0..60),
        width in 0u16..200,
        height in 0u16..60,
        ascii: bool,
    ) {
        let mut app = live(Door::Operate);
        app.look = look(ascii);
        for event in events {
            app.update(NOW, event);
            app.framed();
            let text = drawn_any(&app, width, height);
            prop_assert!(!ascii || text.is_ascii());
        }
    }
}

fn drawn_any(app: &App, width: u16, height: u16) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw::frame(app, &mut buffer);
    buffer.content().iter().map(|cell| cell.symbol()).collect()
}
