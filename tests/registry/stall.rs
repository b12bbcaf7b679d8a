//! In debug builds, a wait of more than 5 s is reported with who holds the key.

use crate::{Names, support::warnings::Warnings};

#[test]
fn a_long_wait_names_the_holder() {
    let (subscriber, warnings) = Warnings::new();
    let names = Names::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            // A task that locks a key twice: the mistake that this is for.
            let guard = names.lock_named("vol\n1").await;
            let held_at = line!() - 1;
            let mut again = std::pin::pin!(names.lock_named("vol\n1"));
            let waits_at = line!() - 1;
            // It begins in one task and goes on in another: the warning follows it.
            let mut elsewhere = tokio_test::task::spawn(());
            elsewhere.enter(|cx, _| {
                assert!(std::future::Future::poll(again.as_mut(), cx).is_pending());
            });
            let warned = std::future::poll_fn(|cx| {
                assert!(std::future::Future::poll(again.as_mut(), cx).is_pending());
                warnings.try_recv().map_or(std::task::Poll::Pending, std::task::Poll::Ready)
            });
            let fields = warned.await;
            let field = |name: &str| {
                fields
                    .iter()
                    .find(|field| field.0 == name)
                    .unwrap_or_else(|| panic!("{name}"))
                    .1
                    .as_str()
            };
            assert_eq!(field("message"), "still waiting for a named lock");
            assert_eq!(field("lock.name"), r#""vol\n1""#, "escaped");
            assert_eq!(field("queued"), "1");
            assert!(field("holder").starts_with(&format!("{}:{held_at}:", file!())));
            assert!(field("waiter").starts_with(&format!("{}:{waits_at}:", file!())));
            for duration in ["waited", "held"] {
                let seconds = field(duration).strip_suffix('s').and_then(|text| text.parse().ok());
                assert!(seconds.is_some_and(|seconds: f64| seconds >= 5.0), "{}", field(duration));
            }
            drop(guard);
        });
    });
}
