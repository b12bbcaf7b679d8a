//! Which of keyward's names are whose of tooz: those that need no mapping, and those that are exact.

use keyward::LockName;

use super::{NEW, Site, option};
use crate::peer::{EXCLUSIVE, Peer, TRY};

const PREFIX: &str = "cinder-";

const VOLUME: &str = "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11";

/// Names that Cinder's services render, and that are alike on all servers.
const PLAIN: [&str; 3] = [
    VOLUME,
    "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11-delete_volume",
    "0d0b8f0e-8b0c-4f4e-8f5f-0c8c6a2f3b77-delete_snapshot",
];

/// Names that keyward maps unless it is told not to.
const OTHERS: [&str; 3] = ["LIN", "NFSDriver-mount_/srv/nfs", "é-volume"];

/// Bytes that are no text, which MySQL's names are.
const NO_TEXT: &[u8] = b"vol-\xff";

/// 79 bytes with the prefix: too long for MySQL, and so for tooz on it.
const LONG: &str = "attachment_update-6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11-compute-01.example.org";

/// Each excludes the other.
fn agree(name: &str, cinder: &mut Peer, keyward: &mut Peer) {
    assert!(keyward.acquire(TRY, EXCLUSIVE));
    assert!(!cinder.could_acquire(TRY, EXCLUSIVE), "{name} for keyward");
    keyward.release();
    assert!(cinder.acquire(TRY, EXCLUSIVE));
    assert!(!keyward.could_acquire(TRY, EXCLUSIVE), "{name} for Cinder");
    cinder.release();
}

#[test]
fn plain_names_without_an_option() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("", PREFIX, VOLUME);
        for name in PLAIN {
            cinder.open(PREFIX, name);
            keyward.open(PREFIX, name);
            agree(name, &mut cinder, &mut keyward);
        }
    }
}

#[test]
fn every_name_by_an_option() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("names=exact", PREFIX, VOLUME);
        for name in PLAIN.iter().chain(&OTHERS) {
            cinder.open(PREFIX, name);
            keyward.open(PREFIX, name);
            agree(name, &mut cinder, &mut keyward);
        }
    }
}

#[test]
fn every_name_that_is_exact() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("", PREFIX, VOLUME);
        for name in PLAIN.iter().chain(&OTHERS) {
            cinder.open(PREFIX, name);
            keyward.open_exactly(PREFIX, name);
            agree(name, &mut cinder, &mut keyward);
        }
    }
}

/// What is not plain goes under another name, so that it means the same on every server. It does not
/// exclude tooz, as is documented; nor does it make the name busy by its bytes.
#[test]
fn mapped_names_exclude_keyward_only() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("", PREFIX, VOLUME);
        for name in OTHERS {
            cinder.open(PREFIX, name);
            keyward.open(PREFIX, name);
            let whole = format!("{PREFIX}{name}");
            assert!(cinder.acquire(TRY, EXCLUSIVE));
            assert!(keyward.acquire(TRY, EXCLUSIVE), "{name} is another lock");
            assert!(site.holder(LockName::from(&whole).encoded(64)).is_some());
            cinder.release();
            assert!(site.holder(&whole).is_none());
            assert!(cinder.could_acquire(TRY, EXCLUSIVE));
            keyward.release();
        }
    }
}

/// Where tooz cannot lock a name, keyward does not lock another one instead.
#[test]
fn names_that_some_servers_refuse() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("names=exact", PREFIX, VOLUME);
        for name in [LONG.as_bytes(), NO_TEXT, "vol-🔒".as_bytes()] {
            cinder.open(PREFIX, name);
            keyward.open(PREFIX, name);
            cinder.send_acquire(TRY, EXCLUSIVE);
            let theirs = cinder.answer();
            keyward.send_acquire(TRY, EXCLUSIVE);
            let ours = keyward.answer();
            if theirs.starts_with("error") {
                assert!(ours.starts_with("error") && ours.contains("InvalidName"), "{ours}");
            } else {
                assert_eq!((&*theirs, &*ours), ("yes", "no"));
                cinder.release();
                agree(&name.escape_ascii().to_string(), &mut cinder, &mut keyward);
            }
        }
    }
}

/// The same bytes as text: what PyMySQL sent before its version 1.2.
#[test]
fn names_that_are_sent_as_text() {
    for site in Site::each() {
        let mut cinder = site.python("tooz-mysql-text", PREFIX, VOLUME);
        let mut keyward = site.keyward("names=exact", PREFIX, VOLUME);
        for name in PLAIN.iter().chain(&OTHERS) {
            cinder.open(PREFIX, name);
            keyward.open(PREFIX, name);
            agree(name, &mut cinder, &mut keyward);
        }
    }
}

/// One volume's locks are different locks.
#[test]
fn locks_of_one_volume_do_not_exclude_each_other() {
    for site in Site::each() {
        let mut cinder = site.python(NEW, PREFIX, VOLUME);
        let mut keyward = site.keyward("", PREFIX, format!("{VOLUME}-delete_volume"));
        assert!(cinder.acquire(TRY, EXCLUSIVE));
        assert!(keyward.could_acquire(TRY, EXCLUSIVE));
        cinder.release();
        cinder.open(PREFIX, format!("{VOLUME}-delete_volume"));
        assert!(keyward.acquire(TRY, EXCLUSIVE));
        assert!(!cinder.could_acquire(TRY, EXCLUSIVE));
    }
}

/// A URL as services have it in their configuration means the same to both.
#[test]
fn one_url_for_both() {
    for site in Site::each() {
        let socket = option("unix_socket", site.server.socket().to_str().unwrap());
        for url in [
            format!("mysql://root@localhost/mysql?{socket}"),
            format!("{}mysql?charset=utf8", site.server.tcp_url()),
        ] {
            let mut cinder = Peer::python_at(&url, NEW, PREFIX, VOLUME);
            let mut keyward = Peer::keyward_at(&url, PREFIX, VOLUME);
            agree(VOLUME, &mut cinder, &mut keyward);
        }
    }
}
