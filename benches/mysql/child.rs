//! What a child does: it reads orders from its standard input and answers each with a line.
//!
//! | order | what it does | answer |
//! |---|---|---|
//! | `acquire` | says `waiting`, takes the lock | when it had it |
//! | `release AFTER` | sleeps AFTER us, lets go, and does nothing for 1 ms | when it began to let go |
//! | `lost` | waits until its lease is lost | when it was told |
//!
//! Times are those of CLOCK_MONOTONIC.

use std::time::Duration;

use keyward_benches::{
    clock::now,
    crew::{Outcome, orders, text},
};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use crate::peers::{Locker, NAME, Who};

/// The first argument of a child.
pub(crate) const HIDDEN: &str = "member-of-the-crew";

/// `WHO TARGET`
pub(crate) fn run(arguments: &[String]) {
    let [who, target] = arguments else { panic!("WHO TARGET") };
    let (who, target) = (Who::parse(who).expect("a known one"), target.clone());
    let orders = orders();
    who.runtime().block_on(async {
        let obeyed = tokio::spawn(obey(who, target, orders)).await;
        if let Err(error) = obeyed.map_err(text).and_then(|outcome| outcome) {
            println!("! {error}");
        }
    });
}

async fn obey(who: Who, target: String, mut orders: UnboundedReceiver<String>) -> Outcome<()> {
    let mut locker = Locker::new(who, &target).await?;
    println!("ready");
    while let Some(order) = orders.recv().await {
        match order.split_whitespace().collect::<Vec<_>>()[..] {
            ["acquire"] => {
                println!("waiting");
                locker.acquire(NAME).await?;
                println!("{}", now());
            }
            ["release", after] => {
                sleep(Duration::from_micros(after.parse().map_err(text)?)).await;
                let at = now();
                locker.release(NAME).await?;
                sleep(Duration::from_millis(1)).await;
                println!("{at}");
            }
            ["lost"] => {
                let Locker::Confirmed(_, Some(lease)) = &locker else {
                    return Err("there is no lease".to_owned());
                };
                lease.lost().await;
                println!("{}", now());
            }
            _ => return Err(format!("not known: {order}")),
        }
    }
    Ok(())
}
