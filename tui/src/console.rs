//! The loop: events in, one update, effects out, and at most so many frames a second.

use crate::app::App;
use crate::client::Client;
use crate::effects::Effects;
use crate::environment::Environment;
use crate::event::{Effect, Event};
use crate::terminal::{self, Frame};
use crate::theme::Look;
use crate::{clipboard, clock, draw, exit};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, Write as _};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};

/// Ages, the backoff and the look at the terminal go by this.
const TICK: Duration = Duration::from_millis(250);
/// How often the writer is looked after at the end, 5 ms apart.
const WRITER_TRIES: u32 = 40;
/// Keys waiting for the update; more are left in the terminal.
const INPUT_QUEUE: usize = 256;

/// The console on this terminal until the operator leaves it or it goes away.
///
/// # Errors
/// Standard output is no terminal that can be taken.
pub async fn run(client: Client, environment: &Environment, ascii: bool) -> io::Result<u8> {
    let look = Look::of(environment, ascii);
    let parent = rustix::process::getppid();
    let mut ends =
        [signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    terminal::leave_on_panic();
    terminal::enter().inspect_err(|_| terminal::leave())?;
    let (input, mut keys) = channel(INPUT_QUEUE);
    let (frames, writer) = terminal::start_writer(look, input.clone());
    terminal::read_input(input);
    let (effects, mut answers) =
        Effects::new(client, environment.ssh_connection.clone(), environment.home.clone());
    let mut console = Console {
        app: App::new(look),
        effects,
        frames,
        epoch: 0,
        multiplexer: environment.multiplexer,
        over: false,
    };
    console.perform(vec![Effect::Connect]);
    let mut ticks = interval(TICK);
    let frame_time = Duration::from_millis(look.frame_ms);
    let mut next_frame = Instant::now();
    let [hangup, terminate, interrupt] = &mut ends;
    while !console.over {
        tokio::select! {
            biased;
            () = asked_to_end(hangup, terminate, interrupt) => console.over = true,
            _ = ticks.tick() => {
                if terminal::gone(parent) {
                    console.over = true;
                }
                console.take(clock::now_unix_ms(), Event::Tick);
            }
            () = sleep_until(next_frame), if console.app.dirty => {
                console.draw();
                next_frame = Instant::now() + frame_time;
            }
            Some((at, event)) = keys.recv() => console.take(at, event),
            Some(event) = answers.recv() => console.take(clock::now_unix_ms(), event),
        }
    }
    drop(console);
    // A frame half written would land on the operator's own screen; a blocked link is not waited for.
    for _ in 0..WRITER_TRIES {
        if writer.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    terminal::leave();
    Ok(exit::DONE)
}

async fn asked_to_end(hangup: &mut Signal, terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = hangup.recv() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

struct Console {
    app: App,
    effects: Effects,
    frames: watch::Sender<Option<Frame>>,
    /// Grows when the terminal's content is not ours any more.
    epoch: u64,
    multiplexer: bool,
    over: bool,
}

impl Console {
    fn take(&mut self, at: i64, event: Event) {
        if matches!(event, Event::Resize) {
            self.epoch += 1;
        }
        let effects = self.app.update(at, event);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Quit => self.over = true,
                Effect::Suspend => {
                    terminal::suspend();
                    self.epoch += 1;
                    self.app.dirty = true;
                }
                Effect::Copy(text) => self.copy(&text),
                other => self.effects.perform(other),
            }
        }
    }

    fn copy(&mut self, text: &str) {
        let said = match clipboard::osc52(text, self.multiplexer) {
            Some(bytes) => {
                let mut out = io::stdout().lock();
                drop(out.write_all(bytes.as_bytes()).and_then(|()| out.flush()));
                format!("copied: {text}")
            }
            None => "too long for the terminal's clipboard; E writes a file".to_owned(),
        };
        self.take(clock::now_unix_ms(), Event::Said(said));
    }

    fn draw(&mut self) {
        let number = self.app.framed();
        let (width, height) = crossterm::terminal::size().unwrap_or((80, 24));
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        draw::frame(&self.app, &mut buffer);
        self.frames.send_replace(Some(Frame { buffer, epoch: self.epoch, number }));
    }
}
