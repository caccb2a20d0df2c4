//! Does what the update asks for, each in a task of its own; the answers come back as events.

use crate::client::{Client, encoded, query};
use crate::clock;
use crate::event::{Answer, Ask, Effect, Event, Rows, Stream, Topic};
use gatehouse_common::limits::STREAM_QUEUE_ITEMS;
use gatehouse_common::ops::Item;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Old lines asked for when a log query begins.
const LOG_LINES: &str = "2000";

/// Seconds of the past with which the charts begin: as many as the widest one shows.
const HISTORY_SECS: &str = "300";

/// The hands of the console.
#[derive(Debug)]
pub(crate) struct Effects {
    client: Client,
    events: Sender<Event>,
    tasks: TaskTracker,
    streams: BTreeMap<Stream, CancellationToken>,
    ssh_connection: Option<String>,
    home: Option<PathBuf>,
}

impl Effects {
    /// Hands for this client, and where their answers come out. When the console is slow the channel fills
    /// and the streams wait; the daemon then drops and counts.
    pub(crate) fn new(
        client: Client,
        ssh_connection: Option<String>,
        home: Option<PathBuf>,
    ) -> (Self, Receiver<Event>) {
        let (events, answers) = channel(STREAM_QUEUE_ITEMS);
        let (tasks, streams) = (TaskTracker::new(), BTreeMap::new());
        (Self { client, events, tasks, streams, ssh_connection, home }, answers)
    }

    fn spawn<F>(&self, work: impl FnOnce(Client) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let (work, events) = (work(self.client.clone()), self.events.clone());
        let _task = self.tasks.spawn(async move {
            // Nobody waits for answers when the console is gone.
            drop(events.send(work.await).await);
        });
    }

    /// Does one effect; those of the terminal are the loop's.
    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Connect => {
                self.spawn(|client| async move { Event::Hello(client.get("/v1/hello").await.map(Box::new)) })
            }
            Effect::Fetch(ask) => self.spawn(|client| async move {
                let answer = fetch(&client, &ask).await;
                Event::Fetched(ask, answer)
            }),
            Effect::Follow(topic, number) => self.follow(topic, number),
            Effect::Unfollow(stream) => {
                self.streams.remove(&stream).inspect(CancellationToken::cancel);
            }
            Effect::Plan(request) => self.spawn(|client| async move {
                Event::Planned(client.post("/v1/plans", &request).await.map(Box::new))
            }),
            Effect::UndoPlan(run) => self.spawn(|client| async move {
                let path = format!("/v1/runs/{}/undo", encoded(run.as_str()));
                Event::Planned(client.post(&path, &serde_json::json!({})).await.map(Box::new))
            }),
            Effect::Start(mut request) => {
                request.ssh_connection.clone_from(&self.ssh_connection);
                self.spawn(|client| async move { Event::Started(client.post("/v1/runs", &*request).await) });
            }
            Effect::Stop(run) => self.spawn(|client| async move {
                let path = format!("/v1/runs/{}/stop", encoded(run.as_str()));
                Event::StopAsked(client.post(&path, &serde_json::json!({})).await)
            }),
            Effect::Export(text) => {
                let home = self.home.clone();
                self.spawn(|_| export(home, text));
            }
            Effect::Copy(_) | Effect::Suspend | Effect::Quit => {}
        }
    }

    fn follow(&mut self, topic: Topic, number: u64) {
        let stream = topic.stream();
        let cancelled = CancellationToken::new();
        self.streams.insert(stream, cancelled.clone()).inspect(CancellationToken::cancel);
        let (client, events) = (self.client.clone(), self.events.clone());
        let _task = self.tasks.spawn(async move {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = listen(&client, &topic, number, &events) => {
                    drop(events.send(Event::Ended(stream, number)).await);
                }
            }
        });
    }
}

/// Passes on a stream until it ends or the console does.
async fn listen(client: &Client, topic: &Topic, number: u64, events: &Sender<Event>) {
    let path = match topic {
        Topic::Metrics => {
            query("/v1/metrics", &[("every", "1s"), ("follow", "1"), ("history", HISTORY_SECS)])
        }
        Topic::Logs { query: words, from } => {
            let from = from.map(|number| number.to_string());
            let mut pairs = vec![("q", words.as_str()), ("follow", "1"), ("limit", LOG_LINES)];
            pairs.extend(from.as_deref().map(|from| ("from", from)));
            query("/v1/logs", &pairs)
        }
        Topic::Run(run) => query(&format!("/v1/runs/{}", encoded(run.as_str())), &[("follow", "1")]),
    };
    let mut lines = match client.stream(&path).await {
        Ok(lines) => lines,
        Err(error) => {
            drop(events.send(Event::Said(error.to_string())).await);
            return;
        }
    };
    loop {
        let event = match topic {
            Topic::Metrics => {
                lines.next().await.map(|item| item.map(|item| Event::Window(number, Box::new(item))))
            }
            Topic::Logs { .. } => {
                lines.next::<Item<_>>().await.map(|item| item.map(|item| Event::Log(number, Box::new(item))))
            }
            Topic::Run(_) => {
                lines.next().await.map(|event| event.map(|event| Event::Run(number, Box::new(event))))
            }
        };
        match event {
            Ok(Some(event)) => {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

async fn fetch(client: &Client, ask: &Ask) -> Answer<Rows> {
    let all = |path: &str| query(path, &[("page_size", "1000")]);
    match ask {
        Ask::Health => client.get("/v1/health").await.map(Rows::Health),
        Ask::Routes => client.get(&all("/v1/routes")).await.map(Rows::Routes),
        Ask::Consumers => client.get(&all("/v1/consumers")).await.map(Rows::Consumers),
        Ask::Backups => client.get(&all("/v1/backups")).await.map(Rows::Backups),
        Ask::Tokens => client.get(&all("/v1/tokens")).await.map(Rows::Tokens),
        Ask::Sessions => client.get(&all("/v1/sessions")).await.map(Rows::Sessions),
        Ask::Runs => client.get("/v1/runs").await.map(Rows::Runs),
        Ask::Audit(words) => {
            client.get(&query("/v1/audit", &[("q", words), ("limit", "500")])).await.map(Rows::Audit)
        }
    }
}

/// Writes what is shown into a new file in the operator's home.
async fn export(home: Option<PathBuf>, text: String) -> Event {
    let Some(home) = home else {
        return Event::Said("no file is written here; on your side: ssh BOX logs --json > FILE".to_owned());
    };
    let path = home.join(format!("gatehouse-{}.txt", clock::now_unix_ms()));
    Event::Said(match tokio::fs::write(&path, text + "\n").await {
        Ok(()) => format!("written to {}", path.display()),
        Err(error) => format!("{}: {error}", path.display()),
    })
}
