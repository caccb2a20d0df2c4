//! A frame: header, tabs, screen, footer, and what lies above. Drawn from the state, changing nothing.

use crate::app::{App, Overlay};
use crate::canvas::{Canvas, Span, cells, top};
use crate::clock;
use crate::commands::{COMMANDS, Command, Place, applies, key_name};
use crate::link::State;
use crate::report;
use crate::screens::ScreenId;
use crate::text;
use crate::theme::Role;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Below this there is one line only.
const SMALLEST: (u16, u16) = (60, 16);

/// Draws everything.
pub(crate) fn frame(app: &App, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut canvas = Canvas::new(buffer, app.look);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let words = format!(
            "gatehouse needs {}x{}, has {}x{}; gatehouse status works at any size",
            SMALLEST.0, SMALLEST.1, area.width, area.height
        );
        for (row, line) in text::wrap(&words, usize::from(area.width)).iter().enumerate() {
            canvas.row(area, cells(row), line, Role::Text);
        }
        return;
    }
    header(app, &mut canvas, top(area, 1));
    tabs(app, &mut canvas, Rect { y: area.y + 1, height: 1, ..area });
    canvas.rule(area, 2);
    let body = Rect { y: area.y + 3, height: area.height - 5, ..area };
    canvas.grey = !app.world.link.fresh();
    app.screens.get(app.at).draw(&app.world, &mut canvas, body);
    canvas.grey = false;
    canvas.rule(area, area.height - 2);
    if let Some((words, _)) = &app.said {
        let line = Rect { x: area.x + 1, y: area.bottom() - 2, width: area.width - 2, height: 1 };
        canvas.row(line, 0, &format!(" {words} "), Role::Warn);
    }
    footer(app, &mut canvas, Rect { y: area.bottom() - 1, height: 1, ..area });
    let inset = |x: u16, y: u16| Rect {
        x: body.x + x,
        y: body.y + y,
        width: body.width.saturating_sub(2 * x),
        height: body.height.saturating_sub(2 * y),
    };
    match &app.overlay {
        Some(Overlay::Help(help)) => help.draw(&mut canvas, inset(area.width / 10, 1), &app.places()),
        Some(Overlay::Palette(palette)) => palette.draw(&mut canvas, inset(area.width / 10, 1)),
        None => {}
    }
}

fn header(app: &App, canvas: &mut Canvas<'_>, area: Rect) {
    let world = &app.world;
    let hello = world.hello.as_ref();
    let host = hello.map_or("?", |hello| hello.host.as_str());
    let words = world.link.words(world.now_ms);
    let role = match world.link.state {
        State::Live => Role::Good,
        State::Connecting => Role::Dim,
        State::Stale | State::Incompatible(_) => Role::Warn,
        State::Lost | State::Refused(_) => Role::Bad,
    };
    let mut left: Vec<Span> = vec![
        (" gatehouse ".to_owned(), Role::Dim),
        (text::fit(host, 24, canvas.look.glyphs.cut()), Role::Heading),
        ("   ".to_owned(), Role::Text),
        (words, role),
    ];
    if let Some(hello) = hello.filter(|_| matches!(world.link.state, State::Live | State::Stale)) {
        let up = clock::between(hello.started_unix_ms, world.now_ms);
        left.push((format!("  rev {}  up {up}", hello.revision), Role::Text));
    }
    let used = left.iter().map(|(text, _)| text::width(text)).sum::<usize>();
    canvas.spans(area, 0, &left);
    if matches!(world.link.state, State::Lost | State::Refused(_) | State::Incompatible(_)) {
        return;
    }
    let wide = area.width >= 120;
    let notices = world.notices().count();
    let notices = if notices == 0 { String::new() } else { format!("! {notices} notices") };
    let door = hello.map_or("", |hello| if world.safety { "safe" } else { report::door(hello.door) });
    let actor = hello.filter(|_| wide).map(|hello| format!(" {}", hello.actor)).unwrap_or_default();
    let time = clock::time_of_day(world.now_ms);
    let time = if wide { time } else { time.get(..5).unwrap_or_default().to_owned() };
    let tail = format!("{door}{actor}  {time}Z ");
    let both = format!("{notices}   {tail}");
    let room = usize::from(area.width).saturating_sub(used + 1);
    let shown = if text::width(&both) <= room { both.as_str() } else { tail.as_str() };
    let tail_wide = cells(text::width(&tail));
    canvas.right(area, 0, text::fit(shown, room, "").as_str(), Role::Dim);
    if shown == both.as_str() && !notices.is_empty() {
        let start = area.right().saturating_sub(cells(text::width(&both)));
        canvas.text((start, area.y), area.right() - tail_wide - start, &notices, Role::Warn);
    }
}

fn tabs(app: &App, canvas: &mut Canvas<'_>, area: Rect) {
    let narrow = area.width < 76;
    let gap = if area.width >= 120 { "   " } else { "" };
    let mut spans: Vec<Span> = Vec::new();
    for (index, id) in ScreenId::ALL.iter().enumerate() {
        let here = *id == app.at;
        let name = if narrow && !here { String::new() } else { format!(" {}", id.title()) };
        let number = index + 1;
        spans.push(if here {
            (format!("[{number}{name}]{gap}"), Role::Key)
        } else {
            (format!(" {number}{name} {gap}"), Role::Dim)
        });
    }
    canvas.spans(area, 0, &spans);
}

/// What is typed where, or the keys of this place.
fn footer(app: &App, canvas: &mut Canvas<'_>, area: Rect) {
    let places = app.places();
    let runbooks = &app.screens.runbooks.flow.page;
    let line = match (&app.overlay, app.at, runbooks) {
        (Some(_), _, _) => Some("Esc close"),
        (None, ScreenId::Runbooks, crate::flow::Page::Asking(_)) => {
            Some("Enter next   Tab complete   Up Down choose   Esc leave, nothing done")
        }
        (None, ScreenId::Runbooks, crate::flow::Page::Plan(page)) if page.typing() => {
            Some("Esc leave, nothing done   Tab back to plan   all other keys are text")
        }
        _ => None,
    };
    if let Some(line) = line {
        canvas.row(area, 0, &format!(" {line}"), Role::Text);
        return;
    }
    let order = |command: &&Command| match command.place {
        Place::Everywhere => 2,
        Place::Rows => 1,
        Place::On(_) | Place::Plan | Place::Run => 0,
    };
    let shown = |command: &&Command| applies(command, &places) && !command.footer.is_empty();
    let mut found: Vec<&Command> = COMMANDS.iter().filter(shown).collect();
    found.sort_by_key(order);
    let tail = "? help  : go to ";
    let mut x = area.x + 1;
    let end = area.right().saturating_sub(cells(tail.len()));
    for command in found.iter().filter(|command| !tail.contains(&format!(" {}", command.footer))) {
        let key = command.keys.first().map(|key| key_name(*key)).unwrap_or_default();
        let wide = cells(text::width(&key) + 1 + text::width(command.footer) + 2);
        if x + wide > end {
            break;
        }
        let next = canvas.text((x, area.y), wide, &key, Role::Key);
        canvas.text((next + 1, area.y), wide, command.footer, Role::Dim);
        x += wide;
    }
    canvas.right(area, 0, tail, Role::Dim);
}
