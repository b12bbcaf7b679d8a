//! Keys of any type and content.

use std::{
    borrow::Borrow,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyward::LockRegistry;
use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn any_content_is_a_name() {
    let names = Names::new();
    let huge = "x".repeat(1 << 20);
    let huge_too = "x".repeat((1 << 20) + 1);
    let keys = [
        "", "\0", "\0\0", "a\0b", "../x", "/", " ", "vol-1", "VOL-1", "vol-1 ", "🔒", &huge,
        &huge_too,
    ];
    for _ in 0..3 {
        let held: Vec<_> = keys.iter().map(|key| names.try_lock_named(*key).unwrap()).collect();
        for (key, guard) in keys.iter().zip(&held) {
            assert_eq!(guard.name(), key);
            assert!(names.try_lock_named(*key).is_err());
            assert_eq!(names.holders(*key), 1);
        }
        assert_eq!(names.len(), keys.len());
        drop(held);
        assert!(names.is_empty());
    }
}

#[test]
fn any_length_is_exact() {
    let names = Names::new();
    let text = "k".repeat(600);
    let held: Vec<_> = (0..text.len()).map(|len| names.try_lock_named(&text[..len])).collect();
    for (len, guard) in held.iter().enumerate() {
        assert_eq!(guard.as_ref().unwrap().name(), &text[..len]);
    }
}

#[test]
fn strings_are_looked_up_in_every_form() {
    let names = Names::new();
    let guard = names.try_lock_named("a").unwrap();
    assert!(names.try_lock_named(&String::from("a")).is_err());
    assert!(names.try_lock_named(&format!("{}", 'a')).is_err());
    drop(guard);
    let guard = names.try_lock_named(&String::from("a")).unwrap();
    assert!(names.try_lock_named("a").is_err());
    drop(guard);

    let boxed = LockRegistry::<Box<str>>::new();
    let guard = boxed.try_lock_named("a").unwrap();
    assert_eq!(&**guard.name(), "a");
    let shared = LockRegistry::<Arc<str>>::new();
    let guard = shared.try_lock_named("a").unwrap();
    assert_eq!(&**guard.name(), "a");
    let bytes = LockRegistry::<Vec<u8>>::new();
    let guard = bytes.try_lock_named(b"\xff\x00".as_slice()).unwrap();
    assert_eq!(guard.name(), b"\xff\x00");
    let paths = LockRegistry::<PathBuf>::new();
    let guard = paths.try_lock_named(Path::new("/dev/sda")).unwrap();
    assert!(paths.try_lock_named(&PathBuf::from("/dev/sda")).is_err());
    drop(guard);
}

#[test]
fn numbers_tuples_and_units() {
    let numbers = LockRegistry::<u64>::new();
    let held: Vec<_> = (0..3000).map(|n| numbers.try_lock_named(&n).unwrap()).collect();
    assert!((0..3000).all(|n| numbers.try_lock_named(&n).is_err()));
    assert!(held.iter().enumerate().all(|(n, guard)| *guard.name() == n as u64));
    drop(held);
    assert!(numbers.is_empty());

    let pairs = LockRegistry::<(u32, String)>::new();
    let guard = pairs.try_lock_named(&(7, "a".to_owned())).unwrap();
    assert!(pairs.try_lock_named(&(7, "a".to_owned())).is_err());
    assert!(pairs.try_lock_named(&(8, "a".to_owned())).is_ok());
    drop(guard);

    let unit = LockRegistry::<()>::new();
    let guard = unit.try_lock_named(&()).unwrap();
    assert!(unit.try_lock_named(&()).is_err());
    drop(guard);
    assert!(unit.is_empty());

    let large = LockRegistry::<[u64; 100]>::new();
    let guard = large.try_lock_named(&[7; 100]).unwrap();
    assert!(large.try_lock_named(&[7; 100]).is_err());
    assert!(large.try_lock_named(&[8; 100]).is_ok());
    assert_eq!(guard.name(), &[7; 100]);
}

#[test]
fn a_key_is_owned_as_long_as_it_is_held() {
    let keys = LockRegistry::<Arc<u32>>::new();
    let key = Arc::new(1);
    let guard = keys.try_lock_named(&key).unwrap();
    assert_eq!(Arc::strong_count(&key), 2);
    let mut wait = task::spawn(keys.lock_named(&key));
    assert_pending!(wait.poll());
    assert_eq!(Arc::strong_count(&key), 2, "asking for a held key owns nothing");
    assert!(keys.try_lock_named(&key).is_err());
    assert_eq!(Arc::strong_count(&key), 2);
    drop(guard);
    drop(assert_ready!(wait.poll()));
    drop(wait);
    assert_eq!(Arc::strong_count(&key), 1, "dropped with its lock, not kept for reuse");
}

/// A key with a borrowed form of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Volume(String);

impl Borrow<str> for Volume {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<String> for Volume {
    fn from(id: String) -> Self {
        Self(id)
    }
}

#[test]
fn a_key_type_may_bring_its_own_borrowed_form() {
    let volumes = LockRegistry::<Volume>::new();
    let guard = volumes.try_lock_named("vol-1").unwrap();
    assert_eq!(guard.name().0, "vol-1");
    assert!(volumes.try_lock_named(&Volume("vol-1".to_owned())).is_err());
}

#[test]
fn a_hasher_that_always_collides_costs_time_only() {
    #[derive(Clone, Default)]
    struct Same;
    struct Seven;
    impl std::hash::BuildHasher for Same {
        type Hasher = Seven;
        fn build_hasher(&self) -> Seven {
            Seven
        }
    }
    impl std::hash::Hasher for Seven {
        fn write(&mut self, _: &[u8]) {}
        fn finish(&self) -> u64 {
            7
        }
    }
    let names = LockRegistry::<String, Same>::default();
    let held: Vec<_> = (0..200).map(|n| names.try_lock_named(&n.to_string()).unwrap()).collect();
    assert!((0..200).all(|n| names.try_lock_named(&n.to_string()).is_err()));
    assert_eq!(names.len(), 200);
    drop(held);
    assert!(names.is_empty());
}

#[test]
fn std_hashers_work() {
    let names = LockRegistry::<String, _>::with_hasher(std::hash::RandomState::new());
    let clone = names.clone();
    let _guard = names.try_lock_named("a").unwrap();
    assert!(clone.try_lock_named("a").is_err());
}
