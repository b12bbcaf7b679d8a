//! How a store is named, and what is said of one that cannot be had.

use std::{
    env,
    process::{Command, Output},
};

use keyward::{ErrorKind, Locks, LocksBuilder};

async fn refused(url: &str) -> (ErrorKind, String) {
    let error = Locks::connect(url).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn unknown_schemes_are_refused_with_those_there_are() {
    for url in ["redis://host", "memroy:", "://", ":"] {
        let (kind, text) = refused(url).await;
        assert_eq!(kind, ErrorKind::InvalidUrl);
        for scheme in ["memory", "file", "mysql"] {
            assert!(text.contains(scheme), "{url}: {text}");
        }
    }
    for url in ["", "memory", "/var/lib/locks", "no scheme"] {
        assert_eq!(refused(url).await.0, ErrorKind::InvalidUrl, "{url:?}");
    }
}

#[tokio::test]
async fn unknown_options_are_refused() {
    let (kind, text) = refused("memory:?names=oslo").await;
    assert_eq!(kind, ErrorKind::InvalidUrl);
    assert!(text.contains("names"), "{text}");
    for url in ["memory:x?y", "memory:?y=%ff", "memory:%ff"] {
        assert_eq!(refused(url).await.0, ErrorKind::InvalidUrl, "{url:?}");
    }
}

#[tokio::test]
async fn no_error_shows_a_password() {
    for url in [
        "mysql://root:hunter2@host/db",
        "nothing://root:hunter2@host",
        "memory:?pw=hunter2",
        "mysql://root:p?hunter2@host/db",
    ] {
        let error = Locks::connect(url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
}

#[cfg(not(feature = "mysql"))]
#[tokio::test]
async fn a_backend_that_is_not_compiled_in_names_its_feature() {
    let (kind, text) = refused("mysql://host/db").await;
    assert_eq!(kind, ErrorKind::FeatureDisabled);
    assert!(text.contains("\"mysql\""), "{text}");
}

#[cfg(not(feature = "file"))]
#[tokio::test]
async fn a_backend_that_is_off_names_its_feature() {
    let (kind, text) = refused("file:///tmp").await;
    assert_eq!(kind, ErrorKind::FeatureDisabled);
    assert!(text.contains("\"file\""), "{text}");
}

#[tokio::test]
async fn memory_is_one_store_where_it_has_a_name() {
    let name = "memory:urls%20test";
    let (one, two) = (Locks::connect(name).await.unwrap(), Locks::connect(name).await.unwrap());
    let (three, four) =
        (Locks::connect("memory:").await.unwrap(), Locks::connect("MEMORY:").await.unwrap());
    let _lease = one.lock_named("a").await.unwrap();
    assert!(two.try_lock_named("a").await.unwrap_err().is_would_block());
    assert!(Locks::connect("memory:urls test").await.unwrap().try_lock_named("a").await.is_err());
    let _other = three.try_lock_named("a").await.unwrap();
    assert!(four.try_lock_named("a").await.is_ok());
    assert_eq!(one.capability().backend, "memory");
}

#[tokio::test]
async fn prefixes_add_up() {
    let locks = Locks::builder().prefix("a-").connect("memory:").await.unwrap();
    let lease = locks.with_prefix("b-").lock_named("c").await.unwrap();
    assert_eq!(lease.name().to_string(), "a-b-c");
    assert!(locks.try_lock_named("b-c").await.unwrap_err().is_would_block());
    assert!(locks.try_lock_named("c").await.is_ok());
    assert_eq!(locks.inspect("b-c").await.unwrap().name.to_string(), "a-b-c");
    let all = locks.lock_all(["c", "d"]).await.unwrap();
    assert!(all.iter().map(|lease| lease.name().to_string()).eq(["a-c", "a-d"]));
    let _builder: LocksBuilder = LocksBuilder::default();
}

/// Tells a child of this test binary what it shall find.
const EXPECT: &str = "KEYWARD_TEST_EXPECT";

/// Environments are of processes, and tests share theirs: each of these has one of its own.
fn in_a_child(variables: &[(&str, &str)], expect: &str) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["urls::child", "--exact", "--nocapture"]);
    child.env_remove("KEYWARD_URL").env_remove("KEYWARD_PREFIX").env(EXPECT, expect);
    let Output { status, stdout, stderr } = child.envs(variables.iter().copied()).output().unwrap();
    let out = String::from_utf8_lossy(&stdout);
    let text = format!("{variables:?}: {out}{}", String::from_utf8_lossy(&stderr));
    assert!(status.success() && out.contains("as expected"), "{text}");
}

/// The child's part; as a test of its own it has nothing to do.
#[tokio::test]
async fn child() {
    let Ok(expect) = env::var(EXPECT) else { return };
    let found = match Locks::from_env().await {
        Ok(locks) => locks.lock_named("a").await.unwrap().name().to_string(),
        Err(e) => format!("{:?}", e.kind()),
    };
    assert_eq!(found, expect);
    println!("as expected");
}

#[test]
fn the_environment_names_the_store_and_the_prefix() {
    in_a_child(&[("KEYWARD_URL", "memory:")], "a");
    in_a_child(&[("KEYWARD_URL", "memory:x"), ("KEYWARD_PREFIX", "p-")], "p-a");
    in_a_child(&[], "InvalidUrl");
    in_a_child(&[("KEYWARD_PREFIX", "p-")], "InvalidUrl");
    in_a_child(&[("KEYWARD_URL", "nothing:")], "InvalidUrl");
    in_a_child(&[("KEYWARD_URL", "")], "InvalidUrl");
}
