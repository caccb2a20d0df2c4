//! The threads of the data plane: one that accepts, and the workers, each with a runtime and a lane of its own.

use crate::client::connection;
use crate::lane::{Lane, Shared};
use crate::listener::{Accepted, accept};
use crate::moving::{Adopter, Moved};
use crate::policies::connections::Connections;
use crate::probes;
use crate::targets::local::{Mount, build};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// Connections on their way to one worker; then accepting waits.
const QUEUE: usize = 256;
/// Sets of the table of addresses: 256 KiB, room for 28,000 addresses.
const SETS: usize = 4_096;
/// Connections on their way to another process; then they wait in their tasks.
const MOVES: usize = 64;

/// What the workers are told.
#[derive(Debug, Clone)]
struct Turns {
    /// Connections between two requests go there.
    moved: mpsc::Sender<Moved>,
    move_on: CancellationToken,
    stop: CancellationToken,
}

/// The running threads.
#[derive(Debug)]
pub struct Workers {
    pause: CancellationToken,
    turns: Turns,
    moves: mpsc::Receiver<Moved>,
    adopter: Arc<Adopter>,
    accepting: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts all threads; returns when every worker can serve.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be made, or the appliance's own surface cannot be mounted.
    pub(crate) async fn start(
        listener: TcpListener,
        count: usize,
        shared: &Shared,
        mount: &Mount,
    ) -> std::io::Result<Self> {
        let (pause, (moved, moves)) = (CancellationToken::new(), mpsc::channel(MOVES));
        let turns = Turns { moved, move_on: CancellationToken::new(), stop: CancellationToken::new() };
        let (mut lanes, mut workers) = (Vec::new(), Vec::new());
        for worker in 0..count {
            let (sender, connections) = mpsc::channel(QUEUE);
            let (ready, started) = oneshot::channel();
            let (shared, mount, turns) = (shared.clone(), Arc::clone(mount), turns.clone());
            let runtime = runtime()?;
            let run = move || {
                LocalSet::new()
                    .block_on(&runtime, serve(worker, (shared, mount), connections, (ready, turns)));
            };
            workers.push(std::thread::Builder::new().name(format!("worker-{worker}")).spawn(run)?);
            started.await.map_err(|_| std::io::Error::other("a worker ended"))??;
            lanes.push(sender);
        }
        let (runtime, paused) = (runtime()?, pause.clone());
        let open = Arc::new(Connections::new(SETS));
        let counted = (Arc::clone(&shared.telemetry), open, shared.limits.per_address);
        let adopter = Arc::new(Adopter::new(lanes.clone(), counted.clone()));
        let run = move || {
            if let Err(error) = runtime.block_on(accept(listener, lanes, paused, counted)) {
                tracing::error!(target: "listener", %error, "no more connections are accepted");
            }
        };
        let accepting = std::thread::Builder::new().name("accept".to_owned()).spawn(run)?;
        Ok(Self { pause, turns, moves, adopter, accepting: Some(accepting), workers })
    }

    /// Accepts no more; what was accepted is with the workers when this returns. The listener stays open for whoever
    /// holds another handle of it.
    pub async fn pause(&mut self) {
        self.pause.cancel();
        if let Some(accepting) = self.accepting.take() {
            // It ends within one accepted connection.
            drop(tokio::task::spawn_blocking(move || drop(accepting.join())).await);
        }
    }

    /// Connections between two requests leave from now on, each other one behind its answer. They wait until they are
    /// received; a second receiver gets none.
    pub fn move_on(&mut self) -> mpsc::Receiver<Moved> {
        self.turns.move_on.cancel();
        std::mem::replace(&mut self.moves, mpsc::channel(1).1)
    }

    /// Where connections from elsewhere are given to these workers.
    #[must_use]
    pub fn adopter(&self) -> Arc<Adopter> {
        Arc::clone(&self.adopter)
    }

    /// Ends the workers; connections that are still open are cut.
    pub async fn stop(mut self) {
        self.pause().await;
        self.turns.stop.cancel();
        let join = move || self.workers.into_iter().for_each(|worker| drop(worker.join()));
        drop(tokio::task::spawn_blocking(join).await);
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn serve(
    worker: usize,
    (shared, mount): (Shared, Mount),
    mut connections: mpsc::Receiver<Accepted>,
    (ready, turns): (oneshot::Sender<std::io::Result<()>>, Turns),
) {
    let local = match build(mount).await {
        Ok(local) => local,
        Err(error) => {
            drop(ready.send(Err(error)));
            return;
        }
    };
    let mut loaded = shared.loaded.clone();
    let lane = Rc::new(Lane::new(worker, shared, local));
    if worker == 0 {
        // It ends with the worker.
        drop(tokio::task::spawn_local(probes::watch(Rc::clone(&lane), loaded.clone())));
    }
    drop(ready.send(Ok(())));
    loop {
        let accepted = tokio::select! {
            () = turns.stop.cancelled() => return,
            () = turns.move_on.cancelled(), if !lane.is_moving() => {
                lane.move_on();
                continue;
            }
            Ok(()) = loaded.changed() => {
                lane.look();
                continue;
            }
            accepted = connections.recv() => accepted,
        };
        let Some(Accepted { stream, peer, moved, counted, place }) = accepted else { return };
        let moves = turns.moved.clone();
        let lane = Rc::clone(&lane);
        match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => drop(tokio::task::spawn_local(async move {
                let leaves = connection::serve(lane, stream, peer, moved).await;
                if let Some(left) = leaves.and_then(|left| Moved::new(left, (counted, place))) {
                    // Nobody receives: they are cut, as all that is open at the end.
                    moves.send(left).await.ok();
                }
            })),
            Err(error) => tracing::warn!(target: "listener", %error, "a connection cannot be watched"),
        }
    }
}
