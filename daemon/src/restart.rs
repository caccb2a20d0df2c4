//! Restart with an overlap, the old process's part: what knows the store is closed, a new process is let serve, and this
//! one goes on as a data plane until its requests are answered. If the new one does not come up, nothing is lost: until
//! its settings are read nothing here is closed, and after that the appliance is assembled here again.

use crate::assemble::House;
use crate::closing::{self, Plane};
use crate::handover::{Adoption, Program, Successor, Wire, Word};
use crate::records::Records;
use crate::run::{Signals, notify_main};
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::shutdown::{Phase, Refusal};
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_data::{Adopter, DataPlane, Moved, Workers};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// How long requests to the appliance's own surface, and tasks that must come to their end, hold a restart up.
const SETTLES: Duration = Duration::from_secs(1);
/// A shorter life of the old process could end before systemd has looked up whose word it is that the new one serves.
const LEAST: Duration = Duration::from_secs(1);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(10);

/// What came of it.
pub(crate) enum Attempt {
    /// The new process serves.
    Done(Successor, Old),
    /// The new process did not start; this one is as it was.
    NotBegun(Box<House>, Refusal),
    /// The new process started and did not serve; here only connections are left.
    Failed(Old, Refusal),
}

/// A data plane that takes no more connections, with what it knows in memory.
pub(crate) struct Old {
    telemetry: Arc<Telemetry>,
    data: DataPlane,
    workers: Workers,
    records: Records,
    moves: Receiver<Moved>,
    /// Bounds of what is left: once another serves, and when the service ends.
    handover_drain: Duration,
    drain: Duration,
}

/// Starts a new process and lets it serve.
pub(crate) async fn attempt(house: House, program: &Program, listener: &TcpListener) -> Attempt {
    let begun = Instant::now();
    let mut successor = match Successor::load(program, listener).await {
        Ok(successor) => successor,
        Err(error) => return Attempt::NotBegun(Box::new(house), refused(&error)),
    };
    let old = close(house).await;
    let closed_ms = millis(begun);
    match successor.serve().await {
        Ok(()) => {
            tracing::info!(target: "restart", closed_ms, serves_ms = millis(begun), "a new process serves");
            Attempt::Done(successor, old)
        }
        Err(error) => {
            successor.abort().await;
            Attempt::Failed(old, refused(&error))
        }
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn refused(error: &anyhow::Error) -> Refusal {
    let why = format!("{error:#}");
    tracing::error!(target: "restart", why, "the restart failed; the old process serves on");
    Refusal { at_unix_ms: Clock::System.unix_ms(), why }
}

/// Closes all that knows the store, and the store; what is in flight goes on. New connections wait from here on.
async fn close(house: House) -> Old {
    let (mut plane, rooms) = closing::parted(house);
    plane.shutdown.enter(Phase::Draining);
    plane.workers.pause().await;
    let moves = plane.workers.move_on();
    let until = Instant::now() + SETTLES;
    while plane.telemetry.local.load(Ordering::Acquire) > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    plane.shutdown.enter(Phase::Closing);
    let Plane { settings, telemetry, data, workers, records, .. } = plane;
    rooms.close(&records, telemetry.in_flight.load(Ordering::Acquire), SETTLES).await;
    let drain = settings.drain;
    let handover_drain = Some(settings.handover_drain).filter(|bound| !bound.is_zero()).unwrap_or(drain);
    Old { telemetry, data, workers, records, moves, handover_drain, drain }
}

impl Old {
    /// Goes on beside the new process: what is in flight is answered here, each connection goes there behind its answer.
    pub(crate) async fn hand_over(
        mut self,
        successor: Successor,
        signals: &mut Signals,
        adoption: &Adoption,
    ) {
        let (pid, wire) = successor.release();
        notify_main(pid);
        if let Err(error) = wire.send(&Word::Main).await {
            tracing::warn!(target: "restart", %error, "the new process does not listen");
        }
        tracing::info!(
            target: "restart", pid, in_flight = self.in_flight(), connections = self.connections(),
            deadline_secs = self.handover_drain.as_secs(), "handed over",
        );
        let mut moves = std::mem::replace(&mut self.moves, tokio::sync::mpsc::channel(1).1);
        let deliver = async {
            while let Some(Moved { stream, peer, input, .. }) = moves.recv().await {
                // Its client finds it closed between two requests, as at any server's end.
                wire.send(&Word::Connection(stream, peer, input.to_vec())).await.ok();
            }
        };
        tokio::select! {
            () = deliver => {}
            () = self.outlive(&wire, signals, adoption) => {}
        }
        self.stop().await;
    }

    /// Waits for what is left, until a bound that the end of the service shortens.
    async fn outlive(&self, wire: &Wire, signals: &mut Signals, adoption: &Adoption) {
        let begun = Instant::now();
        let (least, mut deadline) = (begun + LEAST, begun + self.handover_drain.max(LEAST));
        let (mut gone, mut end) = (false, std::pin::pin!(wire.receive()));
        while Instant::now() < deadline
            && (self.connections() > 0 || adoption.goes_on() || Instant::now() < least)
        {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                // The service ends, or the new process did and systemd waits for us before it starts another.
                () = signals.end() => {
                    deadline = deadline.min(Instant::now() + if gone { Duration::ZERO } else { self.drain });
                }
                _ = &mut end, if !gone => {
                    gone = true;
                    self.data.draining(true);
                    tracing::warn!(target: "restart", "the new process has ended before this one");
                }
            }
        }
    }

    /// Gives the connections to an appliance in this process, each behind its answer.
    pub(crate) async fn leave_to(mut self, adopter: Arc<Adopter>) {
        let mut moves = std::mem::replace(&mut self.moves, tokio::sync::mpsc::channel(1).1);
        let deliver = async {
            while let Some(moved) = moves.recv().await {
                let Moved { stream, peer, input, .. } = moved;
                adopter.adopt(stream, peer, input).await.ok();
            }
        };
        let deadline = Instant::now() + self.drain;
        let left = async {
            while Instant::now() < deadline && self.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = deliver => {}
            () = left => {}
        }
        self.stop().await;
    }

    /// Lets what is in flight end; idle connections are closed.
    pub(crate) async fn drain(self) {
        let deadline = Instant::now() + self.drain;
        self.data.draining(true);
        while Instant::now() < deadline && self.in_flight() > 0 {
            tokio::time::sleep(LOOK).await;
        }
        self.stop().await;
    }

    async fn stop(self) {
        let cut = self.in_flight();
        self.workers.stop().await;
        self.records.stop();
        tracing::info!(target: "restart", cut, "what was left of the old one has ended");
    }

    fn in_flight(&self) -> u64 {
        self.telemetry.in_flight.load(Ordering::Acquire)
    }

    fn connections(&self) -> u64 {
        self.telemetry.connections.load(Ordering::Acquire)
    }
}
