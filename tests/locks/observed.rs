//! What can be seen of locks through `tracing`: spans, events, and no more of them than there should be.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use keyward::{Error, ErrorKind, LossReason, futures::Acquiring};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task::Spawn};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::{
    by_hand, memory, now, paused,
    scripted::{Script, Scripted},
    support::warnings::two_subscribers,
};

/// A line for each span that begins and ends, and for each event with the span that it is in.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// From now on, in this thread.
    fn install() -> (Self, tracing::subscriber::DefaultGuard) {
        two_subscribers();
        let seen = Self::default();
        let subscriber = Registry::default().with(seen.clone());
        (seen, tracing::subscriber::set_default(subscriber))
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            // It has another value each time.
            "token" => write!(self.0, " token").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Seen {
    fn on_new_span(&self, span: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut fields = Fields(format!("begin {}", span.metadata().name()));
        span.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let inside = context.event_span(event).map_or("", |span| span.name());
        let level = event.metadata().level();
        let mut fields = Fields(format!("[{inside}] {level}"));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let name = context.span(&id).expect("it is there until now").name();
        self.0.lock().unwrap().push(format!("end {name}"));
    }
}

const ABOUT: &str = r#"lock.name="a" lock.backend="scripted""#;

#[test]
fn a_lock_that_is_free_is_two_events_and_no_span() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let lease = now(memory().lock_named("vol\n1")).unwrap();
    runtime.block_on(advance(Duration::from_secs(3)));
    drop(lease);
    let about = r#"lock.name="vol\n1" lock.backend="memory""#;
    assert_eq!(
        seen.take(),
        [
            format!(r#"[] DEBUG acquired {about} lock.mode="exclusive" waited=0ns token"#),
            format!("[] DEBUG released {about} held=3s"),
        ],
        "escaped, or it could forge a line"
    );
}

#[test]
fn a_wait_is_a_span_and_its_end_is_told_within() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let locks = Scripted::default().locks();
    let first = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    seen.take();
    runtime.block_on(advance(Duration::from_secs(2)));
    drop(first);
    drop(assert_ready_ok!(wait.poll()));
    drop(wait);
    assert_eq!(
        seen.take(),
        [
            format!("[] DEBUG released {ABOUT} held=2s"),
            format!(
                r#"[keyward.acquire] DEBUG acquired {ABOUT} lock.mode="exclusive" waited=2s token"#
            ),
            "end keyward.acquire".to_owned(),
            format!("[] DEBUG released {ABOUT} held=0ns"),
        ]
    );
    let mut wait = by_hand(locks.lock_named("a").shared());
    drop(assert_ready_ok!(wait.poll()));
    let lines = seen.take();
    assert_eq!(lines[0], format!(r#"begin keyward.acquire {ABOUT} lock.mode="shared""#));
    assert!(lines[1].contains(r#"lock.mode="shared""#), "{lines:?}");
}

#[test]
fn every_end_of_a_wait_has_its_outcome() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let outcome = |what: &str| {
        let lines = seen.take();
        let told: Vec<_> = lines.iter().filter(|line| line.contains("not acquired")).collect();
        assert_eq!(told.len(), 1, "{what}: {lines:?}");
        assert!(told[0].contains(&format!("outcome={what:?}")), "{what}: {told:?}");
        assert!(told[0].contains(ABOUT), "{what}: {told:?}");
        told[0].clone()
    };
    seen.take();

    assert!(now(locks.try_lock_named("a")).is_err());
    outcome("conflict");

    let mut wait = by_hand(locks.lock_named("a").timeout(Duration::from_secs(1)));
    assert_pending!(wait.poll());
    runtime.block_on(advance(Duration::from_secs(1)));
    assert!(assert_ready_err!(wait.poll()).is_timed_out());
    outcome("timeout");

    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    drop(wait);
    outcome("cancelled");

    drop(lease);
    backend.script().acquire_fails = Some(ErrorKind::StorageFull);
    assert!(now(locks.lock_named("a")).is_err());
    assert!(outcome("error").contains("StorageFull"));
}

#[test]
fn several_names_tell_of_each_once() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let locks = Scripted::default().locks();
    let held = now(locks.lock_named("b")).unwrap();
    let mut all = by_hand(locks.lock_all(["c", "a", "b"]));
    assert_pending!(all.poll());
    drop(held);
    drop(assert_ready_ok!(all.poll()));
    let lines = seen.take();
    for name in ["a", "c"] {
        let of = |what: &str| {
            let about = format!("DEBUG {what} lock.name={name:?}");
            lines.iter().filter(|line| line.contains(&about)).count()
        };
        assert_eq!((of("acquired"), of("released"), of("not acquired")), (1, 1, 0), "{lines:#?}");
    }
}

#[test]
fn a_hand_over_is_told() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let script = Script { passes_on: true, ..Script::default() };
    let locks = Scripted::new(script).locks();
    let first = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    drop(first);
    drop(assert_ready_ok!(wait.poll()));
    let told = seen.take().into_iter().filter(|line| line.contains("handed over")).count();
    assert_eq!(told, 1);
}

fn losses(seen: &Seen) -> Vec<String> {
    seen.take().into_iter().filter(|line| line.contains("WARN")).collect()
}

#[test]
fn a_loss_is_warned_of_once_with_its_reason() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let lost = [format!("[] WARN a lease was lost {ABOUT} reason={}", LossReason::Closed)];

    // Told to whoever listens.
    let (seen, _installed) = Seen::install();
    let lease = now(locks.lock_named("a")).unwrap();
    let _ = lease.state();
    assert!(backend.sever(b"a"));
    assert_eq!(losses(&seen), lost);
    drop((lease.state(), lease.lost(), lease.cancellation_token()));
    drop(lease);
    assert_eq!(losses(&seen), [""; 0], "once");

    // Found by whoever asks later.
    let lease = now(locks.lock_named("a")).unwrap();
    assert!(backend.sever(b"a"));
    assert_eq!(losses(&seen), [""; 0], "nobody has listened");
    let _ = lease.state();
    assert_eq!(losses(&seen), lost);
    drop(lease);

    // Found by its release.
    let lease = now(locks.lock_named("a")).unwrap();
    assert!(backend.sever(b"a"));
    let released = futures::executor::block_on(lease.release()).unwrap();
    assert_eq!(released, keyward::Released::WasLost);
    let lines = losses(&seen);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&LossReason::NotOwner.to_string()), "{lines:?}");

    // Released in time: what happens to the hold after that is not its holder's business.
    let lease = now(locks.lock_named("a")).unwrap();
    let _ = lease.state();
    drop(lease);
    backend.sever(b"a");
    assert_eq!(losses(&seen), [""; 0]);
}

fn count(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|line| line.contains(what)).count()
}

/// Also of what was had on the way to something that was not.
#[test]
fn what_is_released_has_been_acquired() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::new(Script { turns: 1, ..Script::default() });
    let (locks, other) = (backend.locks(), backend.locks());
    let mut held = by_hand(other.lock_named("b"));
    let held = finish(&mut held).unwrap();
    seen.take();
    let mut refused = by_hand(locks.lock_all(["a", "b", "c"]).blocking(false));
    assert!(finish(&mut refused).unwrap_err().is_would_block());
    let lines = seen.take();
    let told = ["DEBUG acquired", "DEBUG released", "not acquired", "begin keyward", "end keyward"];
    assert_eq!(told.map(|what| count(&lines, what)), [2, 2, 1, 3, 3], "{lines:#?}");

    // One that waits: what came after it is had twice, and it is one acquisition, not two.
    let mut all = by_hand(locks.lock_all(["a", "b", "c"]));
    for _ in 0..20 {
        assert_pending!(all.poll());
    }
    drop(held);
    drop(finish(&mut all).unwrap());
    drop(all);
    let lines = seen.take();
    let of = |what: &str, name: &str| count(&lines, &format!("DEBUG {what} lock.name={name:?}"));
    for (name, times) in [("a", 1), ("b", 1), ("c", 2)] {
        assert_eq!(of("acquired", name), times, "{name}: {lines:#?}");
    }
    assert_eq!(count(&lines, "not acquired"), 0, "{lines:#?}");
}

#[test]
fn several_names_that_are_given_up_are_told_of() {
    let (seen, _installed) = Seen::install();
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::new(Script { turns: 1, ..Script::default() });
    let mut all = by_hand(backend.locks().lock_all(["a", "b"]));
    assert_pending!(all.poll());
    drop(all);
    let lines = seen.take();
    assert_eq!(count(&lines, "outcome=\"cancelled\""), 2, "{lines:#?}");
}

/// Polls until it is done, however often the scripted store is pending.
fn finish<L>(wait: &mut Spawn<Acquiring<L>>) -> Result<L, Error>
where
    Acquiring<L>: Future<Output = Result<L, Error>>,
{
    for _ in 0..100 {
        if let Poll::Ready(outcome) = wait.poll() {
            return outcome;
        }
    }
    panic!("it waits for somebody");
}
