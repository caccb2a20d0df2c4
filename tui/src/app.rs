//! The state of the console and its one update: events in, effects out, nothing done here.

use crate::choices;
use crate::client::ClientError;
use crate::commands::{self, Cmd, Place};
use crate::event::{Answer, Ask, Effect, Event, Key, Rows, Stream, Topic};
use crate::link::State;
use crate::screens::{Act, Screen as _, ScreenId, Screens};
use crate::theme::Look;
use crate::widgets::help::Help;
use crate::widgets::palette::{self, Palette, Target};
use crate::world::World;
use gatehouse_common::ops::PROTOCOL;
use gatehouse_common::ops::hello::Hello;
use std::collections::{BTreeMap, BTreeSet};

/// How often what is shown is read anew.
const POLL_MS: i64 = 3_000;
/// How long a message stays.
const SAID_MS: i64 = 8_000;

/// What lies above the screen.
#[derive(Debug)]
pub(crate) enum Overlay {
    Help(Help),
    Palette(Palette),
}

/// The console.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) world: World,
    pub(crate) screens: Screens,
    pub(crate) at: ScreenId,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) look: Look,
    /// What was said last, and until when it stays.
    pub(crate) said: Option<(String, i64)>,
    pub(crate) dirty: bool,
    streams: BTreeMap<Stream, u64>,
    broken: BTreeSet<Stream>,
    next_stream: u64,
    pending: BTreeSet<Ask>,
    poll_ms: i64,
    drawn_second: i64,
    /// Frames made so far, and how many there were at the last key.
    frame: u64,
    key_frame: u64,
}

impl App {
    pub(crate) fn new(look: Look) -> Self {
        Self {
            world: World::new(),
            screens: Screens::default(),
            at: ScreenId::Overview,
            overlay: None,
            look,
            said: None,
            dirty: true,
            streams: BTreeMap::new(),
            broken: BTreeSet::new(),
            next_stream: 0,
            pending: BTreeSet::new(),
            poll_ms: i64::MAX,
            drawn_second: 0,
            frame: 0,
            key_frame: 0,
        }
    }

    /// Takes an event at this moment and says what is to be done.
    pub(crate) fn update(&mut self, now_ms: i64, event: Event) -> Vec<Effect> {
        self.world.now_ms = now_ms;
        if !matches!(event, Event::Tick | Event::Drawn(_)) {
            self.dirty = true;
        }
        match event {
            Event::Key(key) => self.key(key),
            Event::Paste(text) => self.paste(&text),
            Event::Resize => Vec::new(),
            Event::Tick => self.tick(),
            Event::Drawn(frame) => {
                // A frame made before the last key does not show what that key opened.
                if frame > self.key_frame && self.overlay.is_none() && self.at == ScreenId::Runbooks {
                    self.screens.runbooks.flow.drawn();
                }
                Vec::new()
            }
            Event::Hello(answer) => self.hello(answer),
            Event::Fetched(ask, answer) => self.fetched(&ask, answer),
            Event::Window(number, item) => {
                if self.streams.get(&Stream::Metrics) == Some(&number) {
                    self.world.link.frame(now_ms);
                    if let Some(hello) = &mut self.world.hello {
                        hello.revision = item.body.revision;
                    }
                    self.world.push_window(Some(item.body));
                }
                Vec::new()
            }
            Event::Log(number, item) => {
                if self.streams.get(&Stream::Logs) == Some(&number) {
                    self.screens.logs.push(item.body);
                }
                Vec::new()
            }
            Event::Run(number, event) => {
                if self.streams.get(&Stream::Run) == Some(&number) {
                    self.screens.runbooks.flow.event(&event);
                }
                Vec::new()
            }
            Event::Ended(stream, number) => self.ended(stream, number),
            Event::Planned(answer) => {
                let acts = self.screens.runbooks.flow.planned(answer);
                self.acts(acts)
            }
            Event::Started(answer) => {
                let acts = self.screens.runbooks.flow.started(answer);
                self.acts(acts)
            }
            Event::StopAsked(answer) => {
                let acts = self.screens.runbooks.flow.stop_asked(answer);
                self.acts(acts)
            }
            Event::Said(words) => self.acts(vec![Act::Say(words)]),
            Event::Hangup => vec![Effect::Quit],
        }
    }

    /// Places whose commands apply now.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.screens.get(self.at).places()
    }

    /// A frame is being made; gives its number.
    pub(crate) fn framed(&mut self) -> u64 {
        self.dirty = false;
        self.frame += 1;
        self.frame
    }

    fn key(&mut self, key: Key) -> Vec<Effect> {
        self.key_frame = self.frame;
        match &mut self.overlay {
            Some(Overlay::Help(help)) => {
                if !help.key(key) {
                    self.overlay = None;
                }
                return Vec::new();
            }
            Some(Overlay::Palette(palette)) => {
                return match palette.key(key) {
                    palette::Outcome::Open => Vec::new(),
                    palette::Outcome::Closed => {
                        self.overlay = None;
                        Vec::new()
                    }
                    palette::Outcome::Chosen(target) => {
                        self.overlay = None;
                        let act = match target {
                            Target::Screen(id) => Act::Go(id),
                            Target::Runbook(id, params) => Act::Runbook(id, params),
                            Target::Logs(query) => Act::Logs(query),
                        };
                        self.acts(vec![act])
                    }
                };
            }
            None => {}
        }
        if let Some(acts) = self.screens.get_mut(self.at).typed(&self.world, key) {
            return self.acts(acts);
        }
        match commands::find(&self.places(), key) {
            Some(cmd) => self.command(cmd),
            None => Vec::new(),
        }
    }

    fn command(&mut self, cmd: Cmd) -> Vec<Effect> {
        match cmd {
            Cmd::Go(id) => return self.acts(vec![Act::Go(id)]),
            Cmd::Help => self.overlay = Some(Overlay::Help(Help::default())),
            Cmd::Palette => {
                self.overlay = Some(Overlay::Palette(Palette::of("Go to", choices::all(&self.world))));
            }
            Cmd::Quit => return vec![Effect::Quit],
            Cmd::Safety => {
                self.world.safety = !self.world.safety;
                let words = if self.world.safety {
                    "safety catch on: nothing can be started"
                } else {
                    "safety catch off"
                };
                return self.acts(vec![Act::Say(words.to_owned())]);
            }
            Cmd::Suspend => return vec![Effect::Suspend],
            Cmd::Retry => {
                self.world.link.hurry();
                self.poll_ms = self.poll_ms.min(self.world.now_ms);
                let acts = self.screens.get_mut(self.at).act(&self.world, cmd);
                let mut effects = self.acts(acts);
                effects.extend(self.tick());
                return effects;
            }
            Cmd::Back => self.said = None,
            _ => {}
        }
        let mut acts = self.screens.get_mut(self.at).act(&self.world, cmd);
        if cmd == Cmd::CopyCommand && acts.is_empty() {
            let command = format!("gatehouse {}", self.screens.get(self.at).same_as());
            acts.push(Act::Do(Effect::Copy(command)));
        }
        let elsewhere = !matches!(self.at, ScreenId::Access | ScreenId::Health);
        if cmd == Cmd::Runbooks && acts.is_empty() && elsewhere {
            acts.push(Act::Choose("Runbooks".to_owned(), choices::runbooks(&self.world)));
        }
        self.acts(acts)
    }

    fn paste(&mut self, text: &str) -> Vec<Effect> {
        match &mut self.overlay {
            Some(Overlay::Palette(palette)) => palette.paste(text),
            Some(Overlay::Help(_)) => {}
            None => self.screens.get_mut(self.at).paste(text),
        }
        Vec::new()
    }

    /// Carries out what a screen asks for.
    fn acts(&mut self, acts: Vec<Act>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for act in acts {
            match act {
                Act::Do(Effect::Fetch(ask)) => effects.extend(self.fetch(ask)),
                Act::Do(effect) => effects.push(effect),
                Act::Follow(topic) => effects.push(self.follow(topic)),
                Act::Go(id) => effects.extend(self.go(id)),
                Act::Runbook(id, params) => {
                    effects.extend(self.go(ScreenId::Runbooks));
                    let acts = self.screens.runbooks.flow.begin(&self.world, &id, params);
                    effects.extend(self.acts(acts));
                }
                Act::Route(name) => {
                    self.screens.routes.show(&name);
                    effects.extend(self.go(ScreenId::Routes));
                }
                Act::Logs(query) => {
                    self.at = ScreenId::Logs;
                    let acts = self.screens.logs.query(&query);
                    effects.extend(self.acts(acts));
                }
                Act::Choose(title, entries) => {
                    self.overlay = Some(Overlay::Palette(Palette::of(&title, entries)));
                }
                Act::Say(words) => self.said = Some((words, self.world.now_ms.saturating_add(SAID_MS))),
            }
        }
        effects
    }

    fn go(&mut self, id: ScreenId) -> Vec<Effect> {
        self.at = id;
        self.overlay = None;
        let acts = if id == ScreenId::Logs { self.screens.logs.shown() } else { Vec::new() };
        let mut effects = self.acts(acts);
        effects.extend(self.poll());
        effects
    }

    fn fetch(&mut self, ask: Ask) -> Option<Effect> {
        let open = self.world.link.fresh() || self.world.link.state == State::Stale;
        (open && self.pending.insert(ask.clone())).then_some(Effect::Fetch(ask))
    }

    /// Reads what is shown anew, and takes up streams that broke.
    fn poll(&mut self) -> Vec<Effect> {
        self.poll_ms = self.world.now_ms.saturating_add(POLL_MS);
        let asks = self.screens.get(self.at).asks();
        let mut effects: Vec<_> =
            std::iter::once(Ask::Health).chain(asks).filter_map(|ask| self.fetch(ask)).collect();
        if self.world.link.fresh() {
            for stream in std::mem::take(&mut self.broken) {
                effects.extend(self.topic(stream).map(|topic| self.follow(topic)));
            }
        }
        effects
    }

    fn topic(&self, stream: Stream) -> Option<Topic> {
        match stream {
            Stream::Metrics => Some(Topic::Metrics),
            Stream::Logs => self.screens.logs.topic(),
            Stream::Run => self.screens.runbooks.flow.topic(),
        }
    }

    fn follow(&mut self, topic: Topic) -> Effect {
        self.next_stream += 1;
        self.streams.insert(topic.stream(), self.next_stream);
        self.broken.remove(&topic.stream());
        Effect::Follow(topic, self.next_stream)
    }

    fn hello(&mut self, answer: Answer<Box<Hello>>) -> Vec<Effect> {
        let now = self.world.now_ms;
        let hello = match answer {
            Ok(hello) => *hello,
            Err(error) => {
                self.world.link.lost(now, Some(&error));
                return Vec::new();
            }
        };
        let (oldest, newest) = hello.protocol;
        let ours = (oldest..=newest).contains(&PROTOCOL);
        let versions = format!("daemon {}, console {}", hello.build, env!("CARGO_PKG_VERSION"));
        self.world.link.opened(now, (!ours).then_some(versions));
        let restarted = self.world.hello.as_ref().is_some_and(|before| before.boot != hello.boot);
        self.world.hello = Some(hello);
        self.pending.clear();
        let mut effects = Vec::new();
        if restarted {
            self.screens.logs.restarted();
            let void = self.screens.runbooks.flow.restarted();
            let words = if void { "daemon restarted, plan void" } else { "daemon restarted" };
            effects.extend(self.acts(vec![Act::Say(words.to_owned())]));
        }
        for stream in [Stream::Metrics, Stream::Logs, Stream::Run] {
            effects.extend(self.topic(stream).map(|topic| self.follow(topic)));
        }
        effects.extend(self.poll());
        effects
    }

    fn fetched(&mut self, ask: &Ask, answer: Answer<Rows>) -> Vec<Effect> {
        self.pending.remove(ask);
        match answer {
            // An answer to a filter that is not the filter any more.
            Ok(_) if matches!(ask, Ask::Audit(_)) && !self.screens.audit.asks().contains(ask) => {}
            Ok(rows) => self.world.keep(ask, rows),
            // The link tells of it.
            Err(ClientError::Unreachable { .. } | ClientError::Refused { .. }) => {}
            Err(error) => {
                self.world.troubles.insert(ask.clone(), error.to_string());
            }
        }
        Vec::new()
    }

    fn ended(&mut self, stream: Stream, number: u64) -> Vec<Effect> {
        if self.streams.get(&stream) != Some(&number) {
            return Vec::new();
        }
        self.streams.remove(&stream);
        if stream == Stream::Metrics {
            self.world.push_window(None);
            self.world.link.lost(self.world.now_ms, None);
            self.pending.clear();
        } else if self.topic(stream).is_some() {
            self.broken.insert(stream);
        }
        Vec::new()
    }

    fn tick(&mut self) -> Vec<Effect> {
        let now = self.world.now_ms;
        let before = self.world.link.state.clone();
        let connect = self.world.link.tick(now);
        self.dirty |= before != self.world.link.state;
        if self.said.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.said = None;
            self.dirty = true;
        }
        // Ages count by the second where they are shown, the clock by the minute.
        let second = now.div_euclid(1_000);
        let counts = !self.world.link.fresh() || self.at == ScreenId::Runbooks;
        if second != self.drawn_second && (counts || second % 60 == 0) {
            self.dirty = true;
        }
        self.drawn_second = second;
        if connect {
            return vec![Effect::Connect];
        }
        if now >= self.poll_ms && self.world.link.fresh() { self.poll() } else { Vec::new() }
    }
}
