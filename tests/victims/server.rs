//! A server in this process, which is as far away as a real one: a request is on its way before it is
//! done, is done whether or not anybody still waits for the answer, and does not arrive while the network
//! is cut, but afterwards.
//!
//! It keeps a queue of places for each name. The first place in it holds the name. A place is a session's,
//! and goes by itself if the session has said how long it may and is not heard of for that long. Times are
//! Tokio's, so that a test whose clock is paused controls them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use keyward::{Error, ErrorKind, conformance::Network};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};

/// How long a request travels.
const WAY: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct Server(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Server {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    queues: HashMap<Vec<u8>, VecDeque<Place>>,
    last: u64,
    /// Whether a place has gone since somebody was told.
    changed: bool,
}

#[derive(Debug)]
struct Place {
    session: u64,
    number: u64,
    until: Option<Instant>,
}

impl State {
    /// A number that is larger than all before.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The places that have not expired.
    fn queue(&mut self, name: &[u8]) -> &mut VecDeque<Place> {
        let queue = self.queues.entry(name.to_vec()).or_default();
        queue.retain(|place| place.until.is_none_or(|until| until > Instant::now()));
        queue
    }

    /// Queues; a session that is in the queue already keeps its place. Returns the place's number.
    pub(crate) fn join(&mut self, name: &[u8], session: u64, ttl: Option<Duration>) -> u64 {
        let number = self.next();
        let queue = self.queue(name);
        if let Some(place) = queue.iter().find(|place| place.session == session) {
            return place.number;
        }
        queue.push_back(Place { session, number, until: end(ttl) });
        number
    }

    /// The same if nobody is there.
    pub(crate) fn try_join(
        &mut self,
        name: &[u8],
        session: u64,
        ttl: Option<Duration>,
    ) -> Option<u64> {
        self.is_free(name).then(|| self.join(name, session, ttl))
    }

    pub(crate) fn is_free(&mut self, name: &[u8]) -> bool {
        self.queue(name).is_empty()
    }

    /// How many are in front of a place, and whether it is still there.
    pub(crate) fn look(&mut self, name: &[u8], number: u64) -> (usize, bool) {
        let queue = self.queue(name);
        let in_front = queue.iter().filter(|place| place.number < number).count();
        (in_front, queue.iter().any(|place| place.number == number))
    }

    pub(crate) fn is_first(&mut self, name: &[u8], session: u64) -> bool {
        self.queue(name).front().is_some_and(|first| first.session == session)
    }

    /// The holder has been heard of; false if it is the holder no more.
    pub(crate) fn renew(&mut self, name: &[u8], session: u64, ttl: Option<Duration>) -> bool {
        let first = self.queue(name).front_mut().filter(|first| first.session == session);
        first.map(|first| first.until = end(ttl)).is_some()
    }

    /// Makes it the holder, whoever is.
    pub(crate) fn seize(&mut self, name: &[u8], session: u64, ttl: Option<Duration>) -> bool {
        self.leave(name, session);
        self.queue(name).push_front(Place { session, number: 0, until: end(ttl) });
        true
    }

    /// Gives a place up; false if it was not the holder's.
    pub(crate) fn leave(&mut self, name: &[u8], session: u64) -> bool {
        let is_first = self.is_first(name, session);
        self.queue(name).retain(|place| place.session != session);
        self.changed = true;
        is_first
    }

    /// Takes the name from whoever holds it; false if nobody does.
    pub(crate) fn delete(&mut self, name: &[u8]) -> bool {
        self.changed = true;
        self.queue(name).pop_front().is_some()
    }
}

fn end(ttl: Option<Duration>) -> Option<Instant> {
    ttl.map(|ttl| Instant::now() + ttl)
}

type Request = Box<dyn FnOnce(&mut State) + Send>;

/// A connection to it. What is sent on one is done in that order.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: mpsc::UnboundedSender<Request>,
    open: watch::Sender<bool>,
    server: Server,
}

impl Link {
    pub(crate) fn new(server: &Server) -> Self {
        let (requests, mut sent) = mpsc::unbounded_channel::<Request>();
        let (open, mut is_open) = watch::channel(true);
        let there = server.clone();
        tokio::spawn(async move {
            while let Some(request) = sent.recv().await {
                sleep(WAY).await;
                if is_open.wait_for(|open| *open).await.is_err() {
                    return; // what is cut off for ever arrives never
                }
                let changed = {
                    let mut state = there.state();
                    request(&mut state);
                    std::mem::take(&mut state.changed)
                };
                if changed {
                    there.0.changed.send_replace(());
                }
            }
        });
        Self { requests, open, server: server.clone() }
    }

    /// Sends what needs no answer.
    pub(crate) fn send(&self, request: impl FnOnce(&mut State) + Send + 'static) {
        // Where the connection has ended with its runtime, nobody is there to be told.
        drop(self.requests.send(Box::new(request)));
    }

    /// Sends, and waits for the answer. Dropped, it has been sent all the same.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(move |state| drop(answer.send(request(state)))); // or nobody waits for it
        let answer = answered.await.map_err(|_| Error::new(ErrorKind::Unavailable))?;
        let mut is_open = self.open.subscribe();
        drop(is_open.wait_for(|open| *open).await);
        Ok(answer)
    }

    /// Tells of the places that go from now on, but for those that expire.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.server.0.changed.subscribe()
    }
}

impl Network for Link {
    fn cut(&self) {
        self.open.send_replace(false);
    }

    fn heal(&self) {
        self.open.send_replace(true);
    }
}
