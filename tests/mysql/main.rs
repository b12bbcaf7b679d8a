//! Leases on real servers, which the tests start themselves.

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

mod blocking;
mod cancel;
mod clients;
mod closing;
mod death;
mod driver;
mod facts;
mod fair;
mod faults;
mod harness;
mod inspect;
mod kills;
mod many;
#[cfg(feature = "metrics")]
mod metered;
mod network;
mod random;
mod refuse;
mod review;
mod session;
mod shards;
mod share;
mod time;

#[path = "../support/dice.rs"]
mod dice;
#[cfg(feature = "metrics")]
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server/mod.rs"]
mod server;
#[path = "../support/warnings.rs"]
mod warnings;
