//! What goes wrong between a holder and its server, done for real: processes and servers are killed
//! and frozen, sessions killed, networks cut.
//!
//! Every case says what must not happen (two holders, a loss that was none) and by when what must
//! happen does: by the ttl, a heartbeat or a timeout that the design names, plus [`SLACK`](room::SLACK).

/// One test of cases that do nothing but wait for most of their time: they do so at the same time.
macro_rules! at_once {
    ($test:ident: $($case:ident)+) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            let cases = [$((stringify!($case), tokio::spawn($case()))),+];
            for (case, outcome) in cases {
                assert!(outcome.await.is_ok(), "{case} has failed");
            }
        }
    };
}

mod cancels;
mod identity;
mod kills;
mod limits;
mod peer;
mod processes;
mod restarts;
#[path = "../../support/sessions.rs"]
mod room;
mod runtimes;
mod silence;
mod stops;
