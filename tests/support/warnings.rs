//! What keyward warns of through `tracing`, as a test can look at it.

use std::sync::{Arc, Mutex, mpsc};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Sends each warning on, field by field.
pub(crate) struct Warnings(Mutex<mpsc::Sender<Vec<(String, String)>>>);

/// Makes subscribers of single threads reliable, as long as the process lives.
///
/// While there is one subscriber in the process, `tracing` asks that of the *thread* that first comes to
/// a place in the code, and remembers the answer for all threads: none, if that thread has none. With two
/// it asks both.
pub(crate) fn two_subscribers() {
    static OTHER: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
    OTHER.get_or_init(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));
}

impl Warnings {
    /// To be installed, and where they arrive.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Vec<(String, String)>>) {
        two_subscribers();
        let (send, warnings) = mpsc::channel();
        (Arc::new(Self(Mutex::new(send))), warnings)
    }
}

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
