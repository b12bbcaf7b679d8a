//! In which order futures are woken, by the names that they have been given.

use std::{
    sync::{Arc, Mutex},
    task::{Wake, Waker},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Woken(Arc<Mutex<Vec<&'static str>>>);

impl Woken {
    /// Notes that name when it is woken.
    pub(crate) fn waker(&self, name: &'static str) -> Waker {
        Waker::from(Arc::new(Note(name, self.clone())))
    }

    /// Who has been woken since it was asked last.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Note(&'static str, Woken);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.0.lock().unwrap().push(self.0);
    }
}
