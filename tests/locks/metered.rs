//! The numbers that a recorder gets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyward::ErrorKind;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};

use crate::{by_hand, now, paused, scripted::Scripted};

/// By name and labels: the value of a counter or gauge, the records of a histogram.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

impl Numbers {
    fn get(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn one(&self, key: &Key) -> Arc<Number> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = key.name().to_owned() + &labels.collect::<String>();
        Arc::new(Number(self.clone(), name))
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.map_or("none", |unit| unit.as_str());
        self.0.lock().unwrap().insert(format!("{} is in {unit}", name.as_str()), Vec::new());
    }
}

struct Number(Numbers, String);

impl Number {
    fn with(&self, change: impl FnOnce(&mut Vec<f64>)) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }

    fn add(&self, more: f64) {
        self.with(|numbers| match numbers.first_mut() {
            Some(number) => *number += more,
            None => numbers.push(more),
        });
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        (0..value).for_each(|_| self.add(1.0));
    }
    fn absolute(&self, _: u64) {
        unreachable!("ours only grow")
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.add(value);
    }
    fn decrement(&self, value: f64) {
        self.add(-value);
    }
    fn set(&self, _: f64) {
        unreachable!("each end counts itself")
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        self.with(|numbers| numbers.push(value));
    }
}

impl Recorder for Numbers {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }
    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[test]
fn waits_holds_and_losses_are_counted() {
    let numbers = Numbers::default();
    let _installed = metrics::set_default_local_recorder(&numbers);
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let of = |name: &str| numbers.get(&format!("keyward.{name}"));
    let acquired =
        |outcome: &str| of(&format!("acquire.duration backend=scripted outcome={outcome}"));

    let first = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    let mut given_up = by_hand(locks.lock_named("a"));
    let mut late = by_hand(locks.lock_named("a").timeout(Duration::from_secs(1)));
    assert_pending!(wait.poll());
    assert_pending!(given_up.poll());
    assert_pending!(late.poll());
    assert!(now(locks.try_lock_named("a")).is_err());
    assert_eq!(of("waiters backend=scripted"), [3.0]);
    runtime.block_on(advance(Duration::from_secs(2)));
    assert!(assert_ready_err!(late.poll()).is_timed_out());
    drop(given_up);
    drop(first);
    let second = assert_ready_ok!(wait.poll());
    assert_eq!(of("held backend=scripted"), [1.0]);
    assert_eq!(of("waiters backend=scripted"), [0.0]);
    assert_eq!(acquired("acquired"), [0.0, 2.0], "seconds");
    assert_eq!(acquired("timeout"), [2.0]);
    assert_eq!(acquired("cancelled"), [2.0]);
    assert_eq!(acquired("conflict").len(), 1);

    let _ = second.state();
    assert!(backend.sever(b"a"));
    assert_eq!(of("lost backend=scripted reason=closed"), [1.0]);
    runtime.block_on(advance(Duration::from_secs(3)));
    drop(second);
    assert_eq!(of("held backend=scripted"), [0.0]);
    assert_eq!(of("hold.duration backend=scripted"), [2.0, 3.0]);

    backend.script().acquire_fails = Some(ErrorKind::ResourceLimit);
    assert!(now(locks.lock_named("a")).is_err());
    assert_eq!(acquired("error error.type=ResourceLimit").len(), 1);
    let names = numbers.0.lock().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(names.iter().all(|name| !name.contains("name=")), "no name is a label: {names:?}");
}

#[test]
fn they_are_described_with_their_units() {
    let numbers = Numbers::default();
    metrics::with_local_recorder(&numbers, keyward::metrics::describe);
    let described = numbers.0.lock().unwrap().keys().cloned().collect::<Vec<_>>();
    for duration in ["acquire.duration", "hold.duration"] {
        let line = format!("keyward.{duration} is in seconds");
        assert!(described.contains(&line), "{described:?}");
    }
    for count in ["waiters", "held", "lost"] {
        let line = format!("keyward.{count} is in count");
        assert!(described.contains(&line), "{described:?}");
    }
}
