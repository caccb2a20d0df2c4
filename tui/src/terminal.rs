//! Terminal manners: taken on start, given back however the console ends, and never outlived.

use crate::clock;
use crate::event::{Event, Key};
use crate::theme::Look;
use crossterm::event::{KeyCode, KeyEventKind, KeyModifiers};
use crossterm::{cursor, event, execute, queue, terminal};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, BufWriter, Write as _};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

/// One write a frame.
const FRAME_BYTES: usize = 65_536;
/// How often the input thread looks whether anyone still reads.
const INPUT_WAIT: Duration = Duration::from_millis(500);

/// Takes the terminal.
///
/// # Errors
/// It is none, or it is gone.
pub(crate) fn enter() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(io::stdout(), terminal::EnterAlternateScreen, event::EnableBracketedPaste, cursor::Hide)
}

/// Gives it back; errors mean that it is gone, and then there is nothing to give back.
pub(crate) fn leave() {
    drop(execute!(io::stdout(), event::DisableBracketedPaste, terminal::LeaveAlternateScreen, cursor::Show));
    drop(terminal::disable_raw_mode());
}

/// A panic gives the terminal back before it speaks.
pub(crate) fn leave_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        leave();
        before(info);
    }));
}

/// Whether the terminal hung up, or whoever started us is gone.
pub(crate) fn gone(parent: Option<rustix::process::Pid>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = rustix::stdio::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled = poll(&mut fds, Some(&now)).is_ok();
    let hung_up =
        fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL));
    let orphan = rustix::process::getppid() != parent;
    (polled && hung_up) || orphan
}

fn key(pressed: event::KeyEvent) -> Option<Key> {
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char(c) if control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(_) if pressed.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// Reads keys in a thread of its own, each with the moment it was read.
pub(crate) fn read_input(events: Sender<(i64, Event)>) {
    std::thread::spawn(move || {
        while !events.is_closed() {
            let read = match event::poll(INPUT_WAIT) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let found = match read {
                Ok(event::Event::Key(pressed)) if pressed.kind != KeyEventKind::Release => {
                    key(pressed).map(Event::Key)
                }
                Ok(event::Event::Paste(text)) => Some(Event::Paste(text)),
                Ok(event::Event::Resize(..)) => Some(Event::Resize),
                Ok(_) => None,
                Err(_) => Some(Event::Hangup),
            };
            let last = matches!(found, Some(Event::Hangup));
            let sent = found.is_none_or(|event| events.blocking_send((clock::now_unix_ms(), event)).is_ok());
            if last || !sent {
                return;
            }
        }
    });
}

/// A frame to be shown; a new epoch is drawn whole.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) buffer: Buffer,
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// Starts the writer: a blocked link holds it up and not the input; only the newest frame waits.
pub(crate) fn start_writer(
    look: Look,
    drawn: Sender<(i64, Event)>,
) -> (watch::Sender<Option<Frame>>, JoinHandle<()>) {
    let (frames, mut newest) = watch::channel::<Option<Frame>>(None);
    let runtime = tokio::runtime::Handle::current();
    let writer = std::thread::spawn(move || {
        let mut backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        let mut before = Buffer::empty(Rect::ZERO);
        let mut epoch = u64::MAX;
        while runtime.block_on(newest.changed()).is_ok() {
            let Some(frame) = newest.borrow_and_update().clone() else { continue };
            if frame.epoch != epoch || before.area != frame.buffer.area {
                epoch = frame.epoch;
                before = Buffer::empty(frame.buffer.area);
                if queue!(backend, terminal::Clear(terminal::ClearType::All)).is_err() {
                    return;
                }
            }
            if show(&mut backend, &before, &frame.buffer, look).is_err() {
                return;
            }
            let number = frame.number;
            before = frame.buffer;
            // A full channel means that older news wait there; the next frame tells again.
            drop(drawn.try_send((clock::now_unix_ms(), Event::Drawn(number))));
        }
    });
    (frames, writer)
}

type Screen = CrosstermBackend<BufWriter<io::Stdout>>;

fn show(backend: &mut Screen, before: &Buffer, now: &Buffer, look: Look) -> io::Result<()> {
    let changes = before.diff(now);
    if changes.is_empty() {
        return Ok(());
    }
    if look.synchronised {
        queue!(backend, terminal::BeginSynchronizedUpdate)?;
    }
    backend.draw(changes.into_iter())?;
    if look.synchronised {
        queue!(backend, terminal::EndSynchronizedUpdate)?;
    }
    io::Write::flush(backend)
}

/// Stops until the shell brings the console back.
pub(crate) fn suspend() {
    leave();
    drop(io::stdout().flush());
    let _stopped = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
    drop(enter());
}
