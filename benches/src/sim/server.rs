//! The server: what a statement costs there, and who has which name (E4).

use std::collections::VecDeque;

use super::{
    RESTED,
    world::{Event, Id, Item, Job, Request, World},
};

/// A name, as the server knows it.
#[derive(Debug, Default)]
pub(super) struct Name {
    holder: Option<Id>,
    queue: VecDeque<Id>,
}

impl World {
    /// A statement has come over the wire.
    pub(super) fn arrive(&mut self, session: Id) {
        let now = self.agenda.now();
        let this = &mut self.sessions[session];
        if self.setting.warm_up <= now {
            self.counts.statements += 1;
            let is_heartbeat = matches!(this.request, Some(Request::Verify));
            self.counts.heartbeats += u64::from(is_heartbeat);
        }
        let has_rested = now - this.active > RESTED;
        this.extra = match has_rested {
            true if now - self.active > RESTED => self.costs.server_roused,
            true => self.costs.server_rested,
            false => 0,
        };
        let delay = if has_rested { self.costs.rouse } else { 0 };
        self.agenda.after(delay, Event::Runs(Job::Statement(session)));
    }

    pub(super) fn statement_cost(&self, session: Id) -> u64 {
        let (costs, this) = (&self.costs, &self.sessions[session]);
        let text = |calls: usize| costs.server_text + costs.server_call * calls as u64;
        let cost = match this.request.as_ref().expect("one is under way") {
            Request::Locks { releases, tries, .. } => match releases.len() + tries.len() {
                1 => costs.server_alone,
                calls => text(calls),
            },
            Request::Alive { .. } => text(0),
            Request::Wait(_) => text(1),
            Request::Verify => costs.server_text + costs.server_check * u64::from(this.held),
            Request::Connect(_) => costs.server_connect,
        };
        cost + this.extra
    }

    /// It has had its processor time.
    pub(super) fn execute(&mut self, session: Id) {
        let request = self.sessions[session].request.take().expect("one is under way");
        let mut is_answered = true;
        self.active = self.agenda.now();
        self.sessions[session].active = self.active;
        match &request {
            Request::Locks { releases, tries, .. } => {
                for &task in releases {
                    self.free(self.tasks[task].name);
                }
                let granted = tries.iter().map(|&task| {
                    let name = &mut self.names[self.tasks[task].name];
                    let is_free = name.holder.is_none();
                    if is_free {
                        name.holder = Some(session);
                    }
                    is_free
                });
                self.sessions[session].granted = granted.collect();
            }
            Request::Wait(task) => {
                let name = &mut self.names[self.tasks[*task].name];
                if name.holder.is_some() {
                    name.queue.push_back(session);
                    is_answered = false;
                } else {
                    name.holder = Some(session);
                }
            }
            Request::Alive { .. } | Request::Verify | Request::Connect(_) => {}
        }
        self.sessions[session].request = Some(request);
        if is_answered {
            self.answer(session);
        }
    }

    fn free(&mut self, name: usize) {
        let name = &mut self.names[name];
        name.holder = name.queue.pop_front();
        if let Some(next) = name.holder {
            self.agenda.after(self.costs.hand_over, Event::Runs(Job::Wake(next)));
        }
    }

    /// A thread that has waited has had its processor time.
    pub(super) fn woken(&mut self, session: Id) {
        self.active = self.agenda.now();
        self.sessions[session].active = self.active;
        self.answer(session);
    }

    /// The answer goes back.
    fn answer(&mut self, session: Id) {
        let process = self.sessions[session].process;
        self.agenda.after(self.trip(), Event::Comes(process, Item::Answer(session)));
    }
}
