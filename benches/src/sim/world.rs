//! Everybody there is, and the loop that plays them.

use std::collections::{HashMap, VecDeque};

use super::{
    Costs, Machine, Outcome, Setting,
    agenda::{Agenda, Chance},
    cores::{Cores, Side},
    server::Name,
};
use crate::histogram::Histogram;

/// Numbers of processes, tasks and sessions: their places in the world's lists.
pub(super) type Id = usize;

/// What happens at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A job has had its processor time.
    Done(Side, Job),
    /// A session's statement is at the server.
    Arrives(Id),
    /// A session's thread at the server can run.
    Runs(Job),
    /// Something has come for a process.
    Comes(Id, Item),
    /// A process wants to look at what has come, at this very time as well.
    Looks(Id),
}

/// What processor time is spent on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// A session's statement.
    Statement(Id),
    /// A session's thread that has been woken.
    Wake(Id),
    /// All that has come for a process.
    Turn(Id),
}

/// What comes for a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// To a session.
    Answer(Id),
    /// For a task, which may have gone on meanwhile: the count says so.
    Timer(Id, u32),
    /// Of a session.
    Beat(Id),
}

/// One process.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Each name that a task has the turn of, and who is queued for it.
    pub(super) turns: HashMap<usize, VecDeque<Id>>,
    /// But for the control session, oldest first.
    pub(super) sessions: Vec<Id>,
    /// Of those that are left.
    pub(super) permits: u32,
    pub(super) permit_queue: VecDeque<Id>,
    pub(super) is_opening: bool,
    pub(super) opening_queue: Vec<Id>,
    pub(super) inbox: Vec<Item>,
    /// It is about to look at it.
    pub(super) is_up: bool,
    /// What it is busy with.
    pub(super) taken: Vec<Item>,
    /// Sessions that may have something to send.
    pub(super) touched: Vec<Id>,
    /// When it has done something for the last time.
    pub(super) active: u64,
    /// Where its timers' ticks are.
    pub(super) phase: u64,
}

/// What a task does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Pausing,
    /// Queued, or asked for it.
    Wanting,
    /// No session may wait for it yet.
    Polling,
    Holding,
}

/// One task.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) process: Id,
    pub(super) name: usize,
    pub(super) phase: Phase,
    /// Timers of before count no more.
    pub(super) timer: u32,
    pub(super) asked: u64,
    /// A try of its is under way.
    pub(super) is_asking: bool,
    pub(super) has_permit: bool,
    /// Of a hold: on which session, since when it is this process's, and how often it was handed over.
    pub(super) session: Id,
    pub(super) granted: u64,
    pub(super) handed_over: u32,
}

/// What a process asks one of its sessions for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Try(Id),
    Release(Id),
    Confirm(Id),
    Wait(Id),
}

/// What a session asks the server.
#[derive(Debug)]
pub(super) enum Request {
    Locks { releases: Vec<Id>, tries: Vec<Id>, confirms: Vec<Id> },
    Alive { confirms: Vec<Id> },
    Wait(Id),
    Verify,
    Connect(Role),
}

/// What a session is opened for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Tries,
    /// Of a task.
    Waits(Id),
}

/// One session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) process: Id,
    pub(super) is_control: bool,
    pub(super) is_open: bool,
    pub(super) load: u32,
    pub(super) waits: bool,
    pub(super) held: u32,
    pub(super) idle_since: u64,
    /// When the server has done something for it for the last time.
    pub(super) active: u64,
    /// What its statement costs because of that.
    pub(super) extra: u64,
    pub(super) is_beat_due: bool,
    pub(super) commands: Vec<Command>,
    pub(super) request: Option<Request>,
    /// The answer to each try.
    pub(super) granted: Vec<bool>,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) waits: Histogram,
    pub(super) sessions: usize,
    pub(super) most_sessions: usize,
    pub(super) statements: u64,
    pub(super) heartbeats: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) costs: Costs,
    pub(super) setting: Setting,
    pub(super) agenda: Agenda<Event>,
    pub(super) cores: Cores,
    pub(super) chance: Chance,
    pub(super) names: Vec<Name>,
    /// When the server has done something for the last time.
    pub(super) active: u64,
    pub(super) processes: Vec<Process>,
    pub(super) tasks: Vec<Task>,
    pub(super) sessions: Vec<Session>,
    pub(super) counts: Counts,
}

/// How many names may be waited for by a session of their own, in each process.
pub(super) const WAITERS: u32 = 8;

/// Plays a setting from its beginning to its end.
pub fn play(costs: &Costs, setting: &Setting) -> Outcome {
    let mut world = World::new(*costs, *setting);
    let end = setting.warm_up + setting.length;
    world.run_to(setting.warm_up);
    world.counts.most_sessions = world.counts.sessions;
    world.run_to(end);
    world.outcome()
}

impl World {
    fn new(costs: Costs, setting: Setting) -> Self {
        let (processes, workload) = (setting.processes as usize, setting.workload);
        let all_tasks = processes * workload.tasks as usize;
        let names = workload.names.map_or(all_tasks, |names| names as usize);
        let mut world = Self {
            costs,
            setting,
            agenda: Agenda::new(),
            cores: Cores::new(setting.machine, setting.warm_up),
            chance: Chance::new(setting.seed),
            names: (0..names).map(|_| Name::default()).collect(),
            active: 0,
            processes: Vec::new(),
            tasks: Vec::new(),
            sessions: Vec::new(),
            counts: Counts::default(),
        };
        for process in 0..processes {
            let phase = world.chance.below(costs.timer_tick);
            world.processes.push(Process { permits: WAITERS, phase, ..Process::default() });
            // As it has connected: a control session, and one that takes tries.
            for is_control in [true, false] {
                let id = world.sessions.len();
                world.sessions.push(Session {
                    process,
                    is_control,
                    is_open: true,
                    ..Session::default()
                });
                if !is_control {
                    world.processes[process].sessions.push(id);
                }
                world.counts.sessions += 1;
                let beat = world.chance.below(setting.heartbeat);
                world.agenda.after(beat, Event::Comes(process, Item::Beat(id)));
            }
            // All of them are somewhere in their rounds.
            for _ in 0..workload.tasks {
                let task = world.tasks.len();
                world.tasks.push(Task { process, ..Task::default() });
                let begin = world.chance.below(workload.pause + workload.hold + 1);
                world.agenda.after(begin, Event::Comes(process, Item::Timer(task, 0)));
            }
        }
        world
    }

    fn run_to(&mut self, end: u64) {
        while let Some(event) = self.agenda.next_before(end) {
            match event {
                Event::Done(side, job) => {
                    if let Some((side, job)) = self.cores.give_back(side) {
                        self.begin(side, job);
                    }
                    match job {
                        Job::Statement(session) => self.execute(session),
                        Job::Wake(session) => self.woken(session),
                        Job::Turn(process) => self.take_turn(process),
                    }
                }
                Event::Arrives(session) => self.arrive(session),
                Event::Runs(job) => self.want_core(Side::Server, job),
                Event::Looks(process) => self.want_core(Side::Client, Job::Turn(process)),
                Event::Comes(process, item) => self.come(process, item),
            }
        }
    }

    fn want_core(&mut self, side: Side, job: Job) {
        if self.cores.take(side, job) {
            self.begin(side, job);
        }
    }

    /// There is a core for it.
    fn begin(&mut self, side: Side, job: Job) {
        let cost = match job {
            Job::Statement(session) => self.statement_cost(session),
            Job::Wake(_) => self.costs.server_wake,
            Job::Turn(process) => self.begin_turn(process),
        };
        self.cores.spend(&mut self.agenda, side, cost, job);
    }

    /// How long a message takes one way.
    pub(super) const fn trip(&self) -> u64 {
        match self.setting.machine {
            Machine::Shared { .. } => self.costs.wire,
            Machine::Apart { round_trip, .. } => self.costs.wire + round_trip / 2,
        }
    }

    pub(super) const fn counts_now(&self) -> bool {
        self.agenda.now() >= self.setting.warm_up
    }

    fn outcome(self) -> Outcome {
        let seconds = self.setting.length as f64 / 1e9;
        let cores = |side| self.cores.spent(side) as f64 / 1e9 / seconds;
        Outcome {
            rate: self.counts.waits.count() as f64 / seconds,
            sessions: self.counts.most_sessions,
            server_cores: cores(Side::Server),
            client_cores: cores(Side::Client),
            statements: self.counts.statements as f64 / seconds,
            heartbeats: self.counts.heartbeats as f64 / seconds,
            waits: self.counts.waits,
        }
    }
}
