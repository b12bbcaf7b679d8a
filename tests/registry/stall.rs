//! In debug builds, a wait of more than 5 s is reported with who holds the key.

use std::sync::{Arc, Mutex, mpsc};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::Names;

/// Sends each warning on, field by field.
struct Warnings(Mutex<mpsc::Sender<Vec<(String, String)>>>);

struct Fields(Vec<(String, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name().to_owned(), format!("{value:?}")));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("keyward")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        self.0.lock().unwrap().send(fields.0).unwrap();
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_long_wait_names_the_holder() {
    let (send, warnings) = mpsc::channel();
    let subscriber = Arc::new(Warnings(Mutex::new(send)));
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
