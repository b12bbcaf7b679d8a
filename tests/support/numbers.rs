//! A recorder of numbers that a test can read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// By name and labels: the value of a counter or gauge, the records of a histogram.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

impl Numbers {
    pub(crate) fn get(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    #[allow(dead_code, reason = "each of the test binaries that have it uses a part of it")]
    /// All names, with their labels, and what has been described.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
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
