//! A process, as keyward's code has it: the names in the comments are those of its files.

use super::{
    RESTED,
    world::{Command, Event, Id, Item, Phase, Process, Request, Role, Session, WAITERS, World},
};

const MS: u64 = 1_000_000;

/// `token.rs`: how often a hold goes to another task of its process.
const HAND_OVERS: u32 = 4;

/// `hold.rs`: and for how long.
const STREAK: u64 = 5 * MS;

/// `options.rs`: `locks_per_session`.
const ROOM: u32 = 64;

/// `pool.rs`: so many locks on one session, and a second one shares the work.
const BUSY: u32 = 16;

/// `batch.rs`: how many commands go into one statement.
const BATCH: usize = 128;

/// `actor.rs`: how long a session stays with nothing to do.
const LINGER: u64 = 10_000 * MS;

impl World {
    /// Something has come: the process is woken, or finds it when it has done what it is at.
    pub(super) fn come(&mut self, process: Id, item: Item) {
        self.processes[process].inbox.push(item);
        self.look(process);
    }

    /// Others may come at the same time.
    fn look(&mut self, process: Id) {
        let this = &mut self.processes[process];
        if !this.inbox.is_empty() && !std::mem::replace(&mut this.is_up, true) {
            self.agenda.after(0, Event::Looks(process));
        }
    }

    /// It has a core, and takes all that has come; what that costs.
    pub(super) fn begin_turn(&mut self, process: Id) -> u64 {
        let this = &mut self.processes[process];
        this.taken = std::mem::take(&mut this.inbox);
        let this = &self.processes[process];
        let has_rested = self.agenda.now() - this.active > RESTED;
        let more = if has_rested { self.costs.client_rested } else { 0 };
        more + this.taken.iter().map(|item| self.cost(item)).sum::<u64>()
    }

    fn cost(&self, item: &Item) -> u64 {
        let costs = &self.costs;
        let Item::Answer(session) = item else { return costs.client_timer };
        let this = &self.sessions[*session];
        let commands = |count: usize| costs.client_statement + costs.client_command * count as u64;
        match this.request.as_ref().expect("one is under way") {
            Request::Locks { releases, tries, confirms } => {
                commands(releases.len() + tries.len() + confirms.len())
            }
            Request::Alive { confirms } => commands(confirms.len()),
            Request::Wait(_) => commands(1),
            Request::Verify => costs.client_statement + costs.client_check * u64::from(this.held),
            Request::Connect(_) => costs.client_connect,
        }
    }

    /// It has had its processor time: what follows from what has come.
    pub(super) fn take_turn(&mut self, process: Id) {
        let items = std::mem::take(&mut self.processes[process].taken);
        self.processes[process].active = self.agenda.now();
        for item in items {
            match item {
                Item::Answer(session) => self.answered(session),
                Item::Timer(task, timer) if self.tasks[task].timer == timer => self.timed(task),
                Item::Timer(..) => {}
                Item::Beat(session) => self.beat(session),
            }
        }
        let mut touched = std::mem::take(&mut self.processes[process].touched);
        for session in touched.drain(..) {
            self.send(session);
        }
        self.processes[process].touched = touched;
        self.processes[process].is_up = false;
        self.look(process);
    }

    fn sleep(&mut self, task: Id, length: u64) {
        self.tasks[task].timer += 1;
        let process = self.tasks[task].process;
        let item = Item::Timer(task, self.tasks[task].timer);
        let tick = self.costs.timer_tick;
        let rounded = if tick == 0 {
            length
        } else {
            // Up to the next tick.
            let past = (self.agenda.now() + length + tick - self.processes[process].phase) % tick;
            length + (tick - past) % tick
        };
        self.agenda.after(rounded + self.costs.timer_late, Event::Comes(process, item));
    }

    fn timed(&mut self, task: Id) {
        match self.tasks[task].phase {
            Phase::Pausing => self.want(task),
            Phase::Holding => self.let_go(task),
            Phase::Polling => self.ask(task),
            Phase::Wanting => {}
        }
    }

    // The local queue: `handover/`.

    fn pause(&mut self, task: Id) {
        self.tasks[task].phase = Phase::Pausing;
        let pause = self.setting.workload.pause;
        if pause == 0 {
            return self.want(task);
        }
        let length = pause / 2 + self.chance.below(pause + 1);
        self.sleep(task, length);
    }

    fn want(&mut self, task: Id) {
        let names = self.setting.workload.names;
        let name = names.map_or(task, |names| self.chance.below(u64::from(names)) as usize);
        let now = self.agenda.now();
        let this = &mut self.tasks[task];
        (this.name, this.asked, this.phase) = (name, now, Phase::Wanting);
        let turns = &mut self.processes[this.process].turns;
        match turns.get_mut(&name) {
            Some(queue) => queue.push_back(task),
            None => {
                turns.insert(name, std::collections::VecDeque::new());
                self.ask(task);
            }
        }
    }

    fn hold(&mut self, task: Id, session: Id) {
        let now = self.agenda.now();
        let counts = self.counts_now();
        let this = &mut self.tasks[task];
        (this.session, this.phase) = (session, Phase::Holding);
        if counts {
            self.counts.waits.add(now - this.asked);
        }
        match self.setting.workload.hold {
            0 => self.let_go(task),
            hold => self.sleep(task, hold),
        }
    }

    /// A lock that the server has just granted.
    fn granted(&mut self, task: Id, session: Id) {
        self.sessions[session].held += 1;
        (self.tasks[task].granted, self.tasks[task].handed_over) = (self.agenda.now(), 0);
        self.hold(task, session);
    }

    fn let_go(&mut self, task: Id) {
        let this = &self.tasks[task];
        let (session, granted, handed_over) = (this.session, this.granted, this.handed_over);
        let may = handed_over < HAND_OVERS && self.agenda.now() - granted < STREAK;
        let queue = self.processes[this.process].turns.get_mut(&this.name).expect("its turn");
        let next = if may { queue.pop_front() } else { None };
        let command = match next {
            Some(_) => Command::Confirm(task),
            None => Command::Release(task),
        };
        self.tasks[task].phase = Phase::Wanting; // of an answer
        self.command(session, command);
        if let Some(next) = next {
            (self.tasks[next].granted, self.tasks[next].handed_over) = (granted, handed_over + 1);
            self.hold(next, session);
        }
    }

    /// The store has the name back: the next one of this process may ask for it.
    fn end_turn(&mut self, task: Id) {
        let this = &self.tasks[task];
        let (process, name) = (this.process, this.name);
        let turns = &mut self.processes[process].turns;
        match turns.get_mut(&name).expect("its turn").pop_front() {
            Some(next) => self.ask(next),
            None => drop(turns.remove(&name)),
        }
    }

    // How a lock is obtained: `one.rs`, `pool.rs`.

    fn command(&mut self, session: Id, command: Command) {
        self.sessions[session].commands.push(command);
        self.touch(session);
    }

    fn touch(&mut self, session: Id) {
        self.processes[self.sessions[session].process].touched.push(session);
    }

    /// Asks for the name, without a wait.
    fn ask(&mut self, task: Id) {
        let process = self.tasks[task].process;
        self.tasks[task].is_asking = true;
        match self.find_seat(process) {
            Some(session) => {
                self.sessions[session].load += 1;
                self.command(session, Command::Try(task));
            }
            None => {
                self.processes[process].opening_queue.push(task);
                if !std::mem::replace(&mut self.processes[process].is_opening, true) {
                    self.open(process, Role::Tries);
                }
            }
        }
    }

    fn find_seat(&self, process: Id) -> Option<Id> {
        let all = &self.processes[process].sessions;
        let load = |session: Id| self.sessions[session].load;
        let has_room = |&session: &Id| !self.sessions[session].waits && load(session) < ROOM;
        let mut with_room = all.iter().copied().filter(has_room).take(2);
        let first = with_room.next()?;
        match with_room.next() {
            Some(second) if load(first) >= BUSY && load(second) < load(first) => Some(second),
            None if load(first) >= BUSY && all.len() < 2 => None,
            _ => Some(first),
        }
    }

    /// The name is not free. A session is to wait for it, if there may be one more.
    fn begin_wait(&mut self, task: Id) {
        if std::mem::take(&mut self.tasks[task].has_permit) {
            return self.wait(task);
        }
        let Process { permits, permit_queue, .. } = &mut self.processes[self.tasks[task].process];
        let is_queued = permit_queue.contains(&task);
        if !is_queued && permit_queue.is_empty() && *permits > 0 {
            *permits -= 1;
            return self.wait(task);
        }
        if !is_queued {
            permit_queue.push_back(task);
        }
        self.poll_later(task);
    }

    fn poll_later(&mut self, task: Id) {
        self.tasks[task].phase = Phase::Polling;
        let length = 50 * MS + self.chance.below(100 * MS);
        self.sleep(task, length);
    }

    /// With a permit.
    fn wait(&mut self, task: Id) {
        self.tasks[task].phase = Phase::Wanting;
        let process = self.tasks[task].process;
        let all = &self.processes[process].sessions;
        let is_idle = |&&session: &&Id| {
            let session = &self.sessions[session];
            session.load == 0 && !session.waits
        };
        if let Some(&session) = all.iter().rev().find(is_idle) {
            self.sessions[session].waits = true;
            return self.command(session, Command::Wait(task));
        }
        let load: u32 = all.iter().map(|&session| self.sessions[session].load).sum();
        if all.len() >= (load.div_ceil(ROOM) + 3 * WAITERS) as usize {
            self.give_permit(process);
            self.poll_later(task);
        } else {
            self.open(process, Role::Waits(task));
        }
    }

    fn give_permit(&mut self, process: Id) {
        let this = &mut self.processes[process];
        let Some(next) = this.permit_queue.pop_front() else {
            this.permits += 1;
            return;
        };
        // Who is asking just now finds it when he has been told that the name is not free.
        self.tasks[next].has_permit = true;
        if self.tasks[next].phase == Phase::Polling && !self.tasks[next].is_asking {
            self.tasks[next].timer += 1;
            self.begin_wait(next);
        }
    }

    /// It has the name, and no use for a permit or a place among those who want one.
    fn stop_polling(&mut self, task: Id) {
        let process = self.tasks[task].process;
        if std::mem::take(&mut self.tasks[task].has_permit) {
            self.give_permit(process);
        } else if self.tasks[task].phase == Phase::Polling {
            self.processes[process].permit_queue.retain(|&other| other != task);
        }
    }

    fn open(&mut self, process: Id, role: Role) {
        let id = self.sessions.len();
        let request = Some(Request::Connect(role));
        self.sessions.push(Session { process, request, ..Session::default() });
        self.counts.sessions += 1;
        self.counts.most_sessions = self.counts.most_sessions.max(self.counts.sessions);
        let trips = self.costs.connect_trips.saturating_sub(1) * 2 + 1;
        self.agenda.after(trips * self.trip(), Event::Arrives(id));
    }

    // The task of a session: `actor.rs`.

    fn send(&mut self, session: Id) {
        let this = &mut self.sessions[session];
        if !this.is_open || this.request.is_some() {
            return;
        }
        let request = if std::mem::take(&mut this.is_beat_due) {
            Request::Verify
        } else if let Some(&Command::Wait(task)) = this.commands.first() {
            this.commands.remove(0);
            this.idle_since = self.agenda.now();
            Request::Wait(task)
        } else {
            let (mut releases, mut tries, mut confirms) = (Vec::new(), Vec::new(), Vec::new());
            let count = this.commands.len().min(BATCH);
            for command in this.commands.drain(..count) {
                match command {
                    Command::Release(task) => releases.push(task),
                    Command::Try(task) => tries.push(task),
                    Command::Confirm(task) => confirms.push(task),
                    Command::Wait(_) => unreachable!("a session that waits has nothing else to do"),
                }
            }
            if releases.len() + tries.len() > 0 {
                this.idle_since = self.agenda.now();
                Request::Locks { releases, tries, confirms }
            } else if confirms.is_empty() {
                return;
            } else {
                Request::Alive { confirms }
            }
        };
        this.request = Some(request);
        self.agenda.after(self.trip(), Event::Arrives(session));
    }

    fn answered(&mut self, session: Id) {
        let request = self.sessions[session].request.take().expect("one is under way");
        self.touch(session);
        match request {
            Request::Locks { releases, tries, confirms } => {
                for task in releases {
                    let this = &mut self.sessions[session];
                    (this.load, this.held) = (this.load - 1, this.held - 1);
                    self.end_turn(task);
                    self.pause(task);
                }
                let granted = std::mem::take(&mut self.sessions[session].granted);
                for (task, is_granted) in tries.into_iter().zip(granted) {
                    self.tasks[task].is_asking = false;
                    if is_granted {
                        self.stop_polling(task);
                        self.granted(task, session);
                    } else {
                        self.sessions[session].load -= 1;
                        self.begin_wait(task);
                    }
                }
                confirms.into_iter().for_each(|task| self.pause(task));
            }
            Request::Alive { confirms } => confirms.into_iter().for_each(|task| self.pause(task)),
            Request::Wait(task) => {
                let this = &mut self.sessions[session];
                (this.load, this.waits) = (this.load + 1, false);
                self.give_permit(self.tasks[task].process);
                self.granted(task, session);
            }
            Request::Verify => self.beat_later(session),
            Request::Connect(role) => self.opened(session, role),
        }
    }

    fn opened(&mut self, session: Id, role: Role) {
        let process = self.sessions[session].process;
        self.sessions[session].is_open = true;
        self.sessions[session].idle_since = self.agenda.now();
        self.processes[process].sessions.push(session);
        self.beat_later(session);
        match role {
            Role::Waits(task) => {
                self.sessions[session].waits = true;
                self.command(session, Command::Wait(task));
            }
            Role::Tries => {
                self.processes[process].is_opening = false;
                let queue = std::mem::take(&mut self.processes[process].opening_queue);
                queue.into_iter().for_each(|task| self.ask(task));
            }
        }
    }

    fn beat_later(&mut self, session: Id) {
        let beat = Event::Comes(self.sessions[session].process, Item::Beat(session));
        self.agenda.after(self.setting.heartbeat, beat);
    }

    fn beat(&mut self, session: Id) {
        let this = &self.sessions[session];
        let all = &self.processes[this.process].sessions;
        let is_idle = this.request.is_none() && this.commands.is_empty();
        let may_go = !this.is_control && all.first() != Some(&session);
        let is_free = this.load == 0 && !this.waits && is_idle;
        if may_go && is_free && self.agenda.now() - this.idle_since > LINGER {
            self.processes[this.process].sessions.retain(|&other| other != session);
            self.sessions[session].is_open = false;
            self.counts.sessions -= 1;
            return;
        }
        self.sessions[session].is_beat_due = true;
        self.touch(session);
    }
}
