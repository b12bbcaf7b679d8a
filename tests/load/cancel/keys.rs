//! The futures of a registry.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use keyward::{LockRegistry, NamedGuard, NamedReadGuard};
use tokio::time::Instant;

use super::{BOUND, Operation, World, explore, sum};
use crate::{sessions::secs, stage::Stage};

const NAMES: [&str; 3] = ["a", "b", "c"];

type Start = fn(LockRegistry) -> Operation;

/// Which names are held, by whom, and what is asked for then.
struct Case {
    name: &'static str,
    writers: &'static [&'static str],
    readers: &'static [&'static str],
    start: Start,
}

macro_rules! case {
    ($name:literal, $writers:expr, $readers:expr, $registry:ident => $wait:expr) => {
        Case {
            name: $name,
            writers: &$writers,
            readers: &$readers,
            start: |$registry| {
                Box::pin(async move {
                    drop($wait.await);
                })
            },
        }
    };
}

static CASES: &[Case] = &[
    case!("lock_named (free)", ["b"], [], registry => registry.lock_named("a")),
    case!("lock_named (held)", ["a"], [], registry => registry.lock_named("a")),
    case!("lock_named (read)", [], ["a", "a"], registry => registry.lock_named("a")),
    case!("lock_named.timeout (held)", ["a"], [],
        registry => registry.lock_named("a").timeout(secs(60))),
    case!("read_named (held)", ["a"], [], registry => registry.read_named("a")),
    case!("read_named.timeout (held)", ["a"], [],
        registry => registry.read_named("a").timeout(secs(60))),
    case!("read_named (free)", [], [], registry => registry.read_named("a")),
    case!("lock_all (free)", [], [], registry => registry.lock_all(NAMES)),
    case!("lock_all (all held)", ["a", "b", "c"], [], registry => registry.lock_all(NAMES)),
    case!("lock_all (the middle held)", ["b"], [], registry => registry.lock_all(NAMES)),
    case!("lock_all (the last read)", [], ["c"], registry => registry.lock_all(NAMES)),
];

struct Busy {
    registry: LockRegistry,
    writers: VecDeque<NamedGuard>,
    readers: VecDeque<NamedReadGuard>,
    start: Start,
}

impl World for Busy {
    async fn operation(&mut self) -> Operation {
        (self.start)(self.registry.clone())
    }

    async fn advance(&mut self) -> bool {
        self.writers.pop_front().is_some() || self.readers.pop_front().is_some()
    }

    async fn check(self) -> Result<Duration, String> {
        let Self { registry, writers, readers, .. } = self;
        for name in NAMES {
            let waiters = registry.waiters(name);
            if waiters > 0 {
                return Err(format!("{waiters} wait for {name}"));
            }
        }
        drop((writers, readers));
        if !registry.is_empty() {
            return Err(format!("{} keys are left", registry.len()));
        }
        let begun = Instant::now();
        let next = tokio::time::timeout(BOUND, registry.lock_all(NAMES)).await;
        drop(next.map_err(|_| "the next one does not get them".to_owned())?);
        Ok(begun.elapsed())
    }
}

pub(crate) async fn every_point(stage: Arc<Stage>) {
    let mut points = 0;
    for _ in 0..stage.runs {
        points = 0;
        // A round has lines of its own: only the last one's are shown.
        stage.outcome().table.clear();
        for case in CASES {
            points += explore(&stage, case.name, || {
                let registry = LockRegistry::new();
                let writers = case.writers.iter().map(|it| registry.try_lock_named(*it).unwrap());
                let writers = writers.collect();
                let readers = case.readers.iter().map(|it| registry.try_read_named(*it).unwrap());
                let readers = readers.collect();
                std::future::ready(Busy { writers, readers, registry, start: case.start })
            })
            .await;
        }
        stage.ran();
    }
    sum(&stage, points);
    stage.check(points >= 8, || format!("only {points} await points"));
    stage.note(format!("{} operations, {points} points, each in 3 ways", CASES.len()));
}
