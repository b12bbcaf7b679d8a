//! Several servers, among which names are shared out.
//!
//! Each server is what it is alone ([`One`]), with sessions that know which generation they belong to.
//!
//! * **N1** A name is locked at all of its homes, one after the other in the order of their addresses, or
//!   not at all; it is one hold, and lost when one of them is.
//! * **N2** Nothing is locked before the generation may grant ([`change`]), on no server that has not been
//!   looked at and found sound, and told of the generation.
//! * **N3** A server that is not there costs its own names only. It is looked at again when one of them is
//!   asked for.
//! * **N4** All that lives longer than a question lives on the runtime of `connect`, whoever asks.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::join_all;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    apart::{Mark, is_of, is_the_same, tell_apart},
    change::{self, Drain, Found, Seen},
    errors,
    generation::Membership,
    hold::MySqlHold,
    layout::{Layout, Place, Standing},
    name,
    one::{Failures, One, WELL},
    opening::Opening,
    options::MySqlOptions,
    pool::check_process,
    server::Family,
    session::Key,
};
use crate::{
    contract::{Capability, Occupancy, Request, Wait},
    error::{Error, ErrorKind},
    name::LockName,
};

/// Several servers, as one process uses them.
pub(super) struct Shards {
    inner: Arc<Inner>,
    _ends_with_this: DropGuard,
}

struct Inner {
    options: MySqlOptions,
    layout: Arc<Layout>,
    family: Family,
    fence: Arc<AtomicU64>,
    shards: BTreeMap<Place, Shard>,
    state: watch::Receiver<State>,
    process: u32,
    runtime: Handle,
    /// What goes on whoever waits for it, until we close (N4).
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// One of them.
#[derive(Default)]
struct Shard {
    found: Mutex<Option<Result<One, Error>>>,
    opening: Opening,
}

/// Whether the generation may grant.
#[derive(Clone, Debug)]
enum State {
    Drains,
    Ready,
    Refused(Error),
}

impl Shard {
    fn found(&self) -> MutexGuard<'_, Option<Result<One, Error>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self) -> Option<One> {
        self.found().as_ref()?.as_ref().ok().cloned()
    }
}

impl Shards {
    pub(super) async fn open(options: MySqlOptions, layout: Layout) -> Result<Self, Error> {
        options.check()?;
        let places = layout.servers();
        let mut found = change::look_at(&options, places.iter().cloned(), true).await;
        let Some(family) = found.values().flatten().map(|seen| seen.server.family).next() else {
            let error = found.into_values().find_map(Result::err);
            return Err(error.unwrap_or_else(|| Error::new(ErrorKind::InvalidUrl)));
        };
        tell_apart(family, &mut found).await?;
        let drain = change::begin(&options, &layout, &mut found).await?;
        let rows = found.values().flatten().filter_map(|seen| seen.row.as_ref());
        let fence = Arc::new(AtomicU64::new(rows.map(|row| row.fence).max().unwrap_or_default()));
        let (told, state) = watch::channel(State::Drains);
        let closing = CancellationToken::new();
        let inner = Arc::new(Inner {
            layout: Arc::new(layout),
            family,
            fence,
            shards: places.iter().map(|place| (place.clone(), Shard::default())).collect(),
            state,
            process: std::process::id(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            closing: closing.clone(),
            options,
        });
        let this = Self { inner: Arc::clone(&inner), _ends_with_this: closing.drop_guard() };
        let opens = places.iter().map(|place| {
            let (seen, inner) = (found.remove(place), &inner);
            async move {
                let opened = match seen {
                    Some(Ok(seen)) => inner.begin(place, seen).await,
                    Some(Err(e)) => Err(e),
                    None => Err(Error::new(ErrorKind::Unavailable)),
                };
                if let Err(error) = &opened {
                    tracing::warn!(server = %place, %error, "one of several servers is of no use");
                }
                *inner.shards[place].found() = Some(opened);
            }
        });
        join_all(opens.collect::<Vec<_>>()).await;
        if inner.shards.values().all(|shard| shard.one().is_none()) {
            let errors = inner.shards.values().map(|shard| shard.found().take());
            let error = errors.flatten().find_map(Result::err);
            return Err(error.unwrap_or_else(|| Error::new(ErrorKind::Unavailable)));
        }
        match drain {
            None => drop(told.send(State::Ready)),
            Some(drain) => {
                let draining = Arc::clone(&inner);
                drop(inner.spawn(async move { draining.drained(drain, &told).await }));
            }
        }
        Ok(this)
    }

    /// Until the generation may grant (N2).
    async fn ready(&self, wait: Wait) -> Result<(), Error> {
        let is_over = |state: &State| !matches!(state, State::Drains);
        let mut state = match &*self.inner.state.borrow() {
            State::Ready => return Ok(()),
            State::Refused(error) => return Err(error.clone()),
            State::Drains if wait == Wait::No => return Err(self.drains()),
            State::Drains => self.inner.state.clone(),
        };
        match state.wait_for(is_over).await.map(|state| state.clone()) {
            Ok(State::Refused(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(e) => Err(ended().with_source(e)),
        }
    }

    fn drains(&self) -> Error {
        let message = format!(
            "generation {} of the servers has begun, and waits until those before the last one have \
             lost what they hold",
            self.inner.layout.generation
        );
        Error::new(ErrorKind::Unavailable).with_message(message)
    }

    pub(super) async fn acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Result<Option<MySqlHold>, Error> {
        check_process(self.inner.process)?;
        let key: Key = self.native_key(name)?.as_ref().into();
        self.ready(request.wait).await?;
        let (first, second) = self.inner.layout.homes(&key);
        let one = self.inner.server(first, request.wait).await?;
        let Some(second) = second else { return one.acquire(&key, request).await };
        let other = self.inner.server(second, request.wait).await?;
        let mut failures = Failures::new(self.inner.options.connect_timeout);
        loop {
            failures.begin_attempt();
            let Some(hold) = one.acquire(&key, request).await? else { return Ok(None) };
            let (lost, held) = (hold.lost(), Instant::now());
            let its = tokio::select! {
                biased;
                _ = lost => None,
                its = other.acquire(&key, request) => Some(its?),
            };
            match its {
                Some(Some(its)) => {
                    if let Some(both) = hold.join(its).await? {
                        return Ok(Some(both));
                    }
                }
                // Given back and heard of, or a server that is asked at once would say it is held.
                Some(None) => {
                    drop(hold.give_up().await);
                    return Ok(None);
                }
                None => {}
            }
            if held.elapsed() >= WELL {
                failures.forget();
            }
            let what = "the lock was lost while another one was waited for,";
            failures.pause(errors::gone(&first.to_string(), what), request.wait).await?;
        }
    }

    pub(super) fn capability(&self) -> Capability {
        let ones = self.inner.shards.values().filter_map(Shard::one);
        let all: Vec<_> = ones.map(|one| one.capability()).collect();
        let mut capability = Capability::new("mysql");
        for one in all {
            let mut warnings = std::mem::take(&mut capability.warnings);
            let new = one.warnings.iter().filter(|warning| !warnings.contains(warning));
            let new: Vec<_> = new.cloned().collect();
            warnings.extend(new);
            capability = one;
            capability.warnings = warnings;
        }
        for (place, shard) in &self.inner.shards {
            if let Some(Err(error)) = &*shard.found() {
                let warning =
                    format!("names on the server at {place} are not to be had for now: {error}");
                capability.warnings.push(warning.into());
            }
        }
        if matches!(&*self.inner.state.borrow(), State::Drains) {
            capability.warnings.push(self.drains().to_string().into());
        }
        capability
    }

    pub(super) fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        name::native(name, self.inner.family, self.inner.options.exact_names)
    }

    /// Whoever holds it at one of its homes has it, or is about to.
    pub(super) async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        check_process(self.inner.process)?;
        let key: Key = self.native_key(name)?.as_ref().into();
        let (first, second) = self.inner.layout.homes(&key);
        let occupancy = self.inner.server(first, Wait::No).await?.inspect(&key).await?;
        match second {
            Some(second) if occupancy == Occupancy::Free => {
                self.inner.server(second, Wait::No).await?.inspect(&key).await
            }
            _ => Ok(occupancy),
        }
    }

    pub(super) async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await; // nothing is opened any more
        let ones: Vec<_> = self.inner.shards.values().filter_map(Shard::one).collect();
        join_all(ones.iter().map(One::close)).await;
    }
}

impl Inner {
    async fn drained(&self, drain: Drain, told: &watch::Sender<State>) {
        tracing::info!(
            generation = self.layout.generation,
            seconds = drain.left().as_secs(),
            "a generation of servers begins when those before the last one have lost what they hold"
        );
        let state = match drain.run(&self.options).await {
            Ok(fence) => {
                self.fence.fetch_max(fence, Ordering::AcqRel);
                State::Ready
            }
            Err(error) => {
                tracing::error!(%error, "a generation of servers has not begun");
                State::Refused(error)
            }
        };
        drop(told.send(state));
    }

    /// A task of ours. It is dropped in the middle of whatever it asks, with its connections, when we close.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let work = self.closing.clone().run_until_cancelled_owned(work);
        self.tasks.spawn_on(work, &self.runtime)
    }

    /// The server, if it is there (N3).
    async fn server(self: &Arc<Self>, place: &Place, wait: Wait) -> Result<One, Error> {
        let shard = &self.shards[place];
        if let Some(one) = shard.one() {
            return Ok(one);
        }
        let mut failures = Failures::new(self.options.connect_timeout);
        loop {
            failures.begin_attempt();
            // Whoever asks may be polled no more, and others would wait for him.
            let (this, there) = (Arc::clone(self), place.clone());
            let opening = self.spawn(async move { this.open_again(&there).await });
            let opened = match wait {
                // It may have to be told of the generation, and that takes a ttl.
                Wait::No => timeout(self.options.connect_timeout.saturating_mul(4), opening).await,
                _ => Ok(opening.await),
            };
            match opened {
                Ok(Ok(Some(Err(e)))) if e.is_retryable() && wait != Wait::No => {
                    failures.pause(e, wait).await?;
                }
                Ok(Ok(Some(opened))) => return opened,
                Ok(Ok(None)) => return Err(ended()),
                Ok(Err(e)) => return Err(ended().with_source(e)),
                Err(e) => {
                    let late =
                        errors::gone(&place.to_string(), "no answer in time from the server");
                    return Err(late.with_source(e));
                }
            }
        }
    }

    async fn open_again(&self, place: &Place) -> Result<One, Error> {
        let shard = &self.shards[place];
        let open = || async {
            let admitted = self.admit(place).await;
            *shard.found() = Some(admitted.clone());
            admitted.map(drop)
        };
        shard.opening.open(|| shard.one(), open).await
    }

    /// Looks at a server that was not there when we connected, as we would have then.
    async fn admit(&self, place: &Place) -> Result<One, Error> {
        let mut seen = change::look(&self.options, place, true).await?;
        is_of(self.family, place, &seen)?;
        let mark = Mark::leave(&mut seen).await?;
        let others = self.shards.iter().filter(|(other, _)| *other != place);
        let looks =
            others.filter_map(|(other, shard)| Some((other, shard.one()?))).map(|(other, one)| {
                let question = mark.question();
                async move { (other, one.ask(question).await) }
            });
        for (other, answer) in join_all(looks).await {
            // One that does not answer is not the one that has just done so.
            if answer.is_ok_and(|rows| !rows.is_empty()) {
                return Err(is_the_same(place, other));
            }
        }
        let standing = match &seen.row {
            Some(row) => self.layout.judge(&row.layout, place)?,
            None => Standing::Older,
        };
        let mut found = Found::from([(place.clone(), Ok(seen))]);
        if standing == Standing::Older {
            // It has lost what it was told.
            let others = self.layout.servers().into_iter().filter(|other| other != place);
            found.extend(change::look_at(&self.options, others, false).await);
            if let Some(drain) = change::begin(&self.options, &self.layout, &mut found).await? {
                self.fence.fetch_max(drain.run(&self.options).await?, Ordering::AcqRel);
            }
        }
        self.begin(place, found.remove(place).expect("put there above")?).await
    }

    async fn begin(&self, place: &Place, seen: Seen) -> Result<One, Error> {
        let membership = Membership {
            place: place.clone(),
            layout: Arc::clone(&self.layout),
            fence: Arc::clone(&self.fence),
        };
        let options = place.options(&self.options);
        One::begin(options, seen.server, Some(membership)).await
    }
}

fn ended() -> Error {
    let message = "the runtime in which these locks were connected has ended";
    Error::new(ErrorKind::Unavailable).with_message(message)
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("layout", &self.inner.layout).finish_non_exhaustive()
    }
}
