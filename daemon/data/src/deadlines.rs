//! Deadlines of one worker by a coarse clock: a timer for each request would cost more than routing it. One task ticks
//! while somebody waits and wakes those whose time has come, up to [`TICK`] late.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);
/// Without a deadline there is a look this often, which ends the ticking.
const FAR: Duration = Duration::from_secs(1);

struct Waiting {
    at: Instant,
    /// `None`: the place is free.
    waker: Option<Waker>,
}

struct Inner {
    /// At the last tick.
    now: Cell<Instant>,
    /// No deadline is before this one.
    soonest: Cell<Instant>,
    ticking: Cell<bool>,
    places: RefCell<Vec<Waiting>>,
    free: RefCell<Vec<usize>>,
}

/// A worker's deadlines.
#[derive(Clone)]
pub(crate) struct Deadlines(Rc<Inner>);

impl Default for Deadlines {
    fn default() -> Self {
        let now = Instant::now();
        Self(Rc::new(Inner {
            now: Cell::new(now),
            soonest: Cell::new(now),
            ticking: Cell::new(false),
            places: RefCell::default(),
            free: RefCell::default(),
        }))
    }
}

impl Deadlines {
    /// A deadline; nothing happens until it is waited for.
    pub(crate) fn at(&self, at: Instant) -> Deadline {
        Deadline { all: self.clone(), at, place: None }
    }

    /// Wakes all that wait, whatever the time: something else than the time is to be looked at.
    pub(crate) fn wake_all(&self) {
        for waker in self.0.places.borrow().iter().filter_map(|place| place.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    fn start(&self) {
        if self.0.ticking.replace(true) {
            return;
        }
        self.0.now.set(Instant::now());
        let all = self.clone();
        // Of the worker itself, and gone one tick after the last that waits.
        drop(tokio::task::spawn_local(async move {
            while all.0.ticking.get() {
                tokio::time::sleep(TICK).await;
                all.tick();
            }
        }));
    }

    fn tick(&self) {
        let now = Instant::now();
        self.0.now.set(now);
        if now < self.0.soonest.get() {
            return;
        }
        let (mut waiting, mut soonest) = (false, now + FAR);
        for place in self.0.places.borrow().iter() {
            if let Some(waker) = &place.waker {
                waiting = true;
                if place.at <= now {
                    waker.wake_by_ref();
                }
                // One that has passed may be waited for again.
                soonest = soonest.min(place.at.max(now));
            }
        }
        self.0.soonest.set(soonest);
        self.0.ticking.set(waiting);
    }
}

/// A point in time that somebody may wait for.
pub(crate) struct Deadline {
    all: Deadlines,
    at: Instant,
    place: Option<usize>,
}

impl Deadline {
    /// Whether it has passed; if not, the task is woken when it has.
    pub(crate) fn passed(&mut self, context: &Context<'_>) -> bool {
        let inner = &self.all.0;
        let mut places = inner.places.borrow_mut();
        if let Some(place) = self.place.and_then(|place| places.get_mut(place)) {
            if !place.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                place.waker = Some(context.waker().clone());
            }
            return inner.now.get() >= self.at;
        }
        let waiting = Waiting { at: self.at, waker: Some(context.waker().clone()) };
        let free = inner.free.borrow_mut().pop();
        match free.and_then(|free| Some((free, places.get_mut(free)?))) {
            Some((free, place)) => {
                *place = waiting;
                self.place = Some(free);
            }
            None => {
                self.place = Some(places.len());
                places.push(waiting);
            }
        }
        drop(places);
        inner.soonest.set(inner.soonest.get().min(self.at));
        self.all.start();
        inner.now.get() >= self.at
    }

    /// Begins anew.
    pub(crate) fn again(&mut self, after: Duration) {
        self.at = Instant::now() + after;
        self.all.0.soonest.set(self.all.0.soonest.get().min(self.at));
        if let Some(place) = self.place
            && let Some(place) = self.all.0.places.borrow_mut().get_mut(place)
        {
            place.at = self.at;
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            if let Some(waiting) = self.all.0.places.borrow_mut().get_mut(place) {
                waiting.waker = None;
            }
            self.all.0.free.borrow_mut().push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    async fn wait(deadline: &mut Deadline) {
        poll_fn(|context| if deadline.passed(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[test]
    fn it_passes_late_by_little_and_its_place_is_taken_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (all, begun) = (Deadlines::default(), Instant::now());
            for round in 1..=3 {
                let mut deadline = all.at(Instant::now() + Duration::from_millis(30));
                wait(&mut deadline).await;
                assert!(begun.elapsed() >= Duration::from_millis(30) * round);
                deadline.again(Duration::from_millis(1));
                wait(&mut deadline).await;
            }
            assert_eq!(all.0.places.borrow().len(), 1);
            tokio::time::sleep(FAR + TICK * 3).await;
            assert!(!all.0.ticking.get(), "nobody waits");
        });
    }
}
