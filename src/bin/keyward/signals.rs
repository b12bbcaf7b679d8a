//! The signals of this process: while it waits for a lock they end it, while a program runs they are
//! the program's.
//!
//! S1. What was ignored when we were started stays ignored, here and in the program: `nohup` and the
//!     background jobs of scripts rely on it.
//! S2. A signal that ends the wait is known at once ([`Signals::has_ended`]), not only when the thread
//!     that listens has passed it on: no program is started after it. One that comes before that thread can
//!     hear it is passed on as well.
//! S3. We stop when we were asked to and the program *has* stopped ([`Stops`]): one that takes no notice
//!     of the terminal's stop works on, and needs us. Of a stop and a continue that arrive together the
//!     stop is passed on first, and we do not stop for it. A stop that the program has not followed is
//!     forgotten ([`FOLLOWED_WITHIN`]): what stops it later is not ours, and may not continue us.
//! S4. What is blocked when we are started stays blocked, here and in the program, as with any wrapper: it
//!     neither ends the wait nor is forwarded.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{
        SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
        SIGWINCH,
    },
    flag,
    iterator::{Handle, SignalsInfo, exfiltrator::WithOrigin},
    low_level::{raise, siginfo::Cause},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Those that end a process that does nothing about them: they end the wait.
pub(crate) const ENDING: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Those that are left alone until there is a program to forward them to.
const FORWARDED_TOO: [i32; 3] = [SIGWINCH, SIGTSTP, SIGCONT];

/// How long a program may take to stop when it is asked to: one that has to put its terminal in order
/// first, on a machine that is busy.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(3);

/// Whether it ends a process that does nothing about it.
pub(crate) fn ends(number: i32) -> bool {
    ENDING.contains(&number)
}

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) number: i32,
    /// Nobody has sent it: it comes from the terminal, which sends it to its whole foreground group.
    pub(crate) from_kernel: bool,
}

pub(crate) struct Signals {
    received: UnboundedReceiver<Received>,
    handle: Handle,
    ignored: Ignored,
    /// The last signal that ends a process; 0 before.
    ended: Arc<AtomicUsize>,
    continues: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on, signals that would end the process are told here instead.
    pub(crate) fn listen() -> io::Result<Self> {
        let ignored = Ignored::now();
        let ended = Arc::new(AtomicUsize::new(0));
        let heard: Vec<_> = ENDING.into_iter().filter(|&number| !ignored.has(number)).collect();
        for &number in &heard {
            let value = usize::try_from(number).expect("signals are numbered from 1");
            flag::register_usize(number, Arc::clone(&ended), value)?;
        }
        let signals = SignalsInfo::<WithOrigin>::new(&heard)?;
        let handle = signals.handle();
        let (sender, received) = unbounded_channel();
        let continues = Arc::default();
        let this = Self { received, handle, ignored, ended, continues };
        // S2: what came before `signals` could hear it. What came after that is told twice, which is no
        // harm: the first ends us.
        if let Some(number) = this.has_ended() {
            let _ = sender.send(Received { number, from_kernel: false });
        }
        let counted = Arc::clone(&this.continues);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || pass_on(signals, &sender, &counted))?;
        Ok(this)
    }

    /// From now on, also those that a program is told: to be called before it is started.
    ///
    /// And those of the program's own stops, also if they were ignored: then the kernel would not keep
    /// how it has ended.
    pub(crate) fn listen_for_a_program(&self) -> io::Result<()> {
        self.handle.add_signal(SIGCHLD)?;
        for number in FORWARDED_TOO {
            if !self.ignored.has(number) {
                self.handle.add_signal(number)?;
            }
        }
        Ok(())
    }

    /// The next signal, for ever if there is none.
    ///
    /// Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Received {
        match self.received.recv().await {
            Some(received) => received,
            None => std::future::pending().await, // the thread has ended, with the process
        }
    }

    /// The next signal that ends a process.
    pub(crate) async fn end(&mut self) -> i32 {
        loop {
            let Received { number, .. } = self.next().await;
            if ends(number) {
                return number;
            }
        }
    }

    /// The signal that ends a process, if one has arrived so far.
    pub(crate) fn has_ended(&self) -> Option<i32> {
        let number = i32::try_from(self.ended.load(Ordering::SeqCst)).ok();
        number.filter(|&number| number != 0)
    }

    /// What is to be done about stops, for one program.
    pub(crate) fn stops(&self) -> Stops {
        Stops { asked: None, continues: Arc::clone(&self.continues) }
    }
}

/// Stops this process together with the program (S3).
pub(crate) struct Stops {
    asked: Option<Instant>,
    /// How many continues have arrived that have not been passed on.
    continues: Arc<AtomicUsize>,
}

impl Stops {
    /// To be told of each signal, after it has been passed on. Returns once somebody has us go on, if
    /// there is something to stop for.
    pub(crate) fn heed(&mut self, number: i32, has_stopped: impl FnOnce() -> bool) {
        match number {
            SIGTSTP => self.asked = Some(Instant::now()),
            SIGCONT => {
                self.continues.fetch_sub(1, Ordering::SeqCst);
                self.asked = None;
            }
            _ => {}
        }
        self.asked = self.asked.filter(|asked| asked.elapsed() < FOLLOWED_WITHIN);
        if self.asked.is_some() && has_stopped() && self.continues.load(Ordering::SeqCst) == 0 {
            self.asked = None;
            drop(raise(SIGSTOP)); // which cannot fail
        }
    }
}

fn pass_on(
    mut signals: SignalsInfo<WithOrigin>,
    sender: &UnboundedSender<Received>,
    continues: &AtomicUsize,
) {
    while !signals.is_closed() {
        let mut batch: Vec<_> = signals
            .wait()
            .map(|origin| Received {
                number: origin.signal,
                from_kernel: origin.cause == Cause::Kernel,
            })
            .collect();
        let is_continue = |received: &Received| received.number == SIGCONT;
        batch.sort_by_key(is_continue); // S3
        continues.fetch_add(batch.iter().filter(|r| is_continue(r)).count(), Ordering::SeqCst);
        for received in batch {
            if sender.send(received).is_err() {
                return;
            }
        }
    }
}

/// What is ignored, as the kernel tells: one bit each.
#[derive(Clone, Copy)]
struct Ignored(u64);

impl Ignored {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::of(&status)
    }

    fn of(status: &str) -> Self {
        let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0))
    }

    const fn has(self, number: i32) -> bool {
        self.0 & 1 << (number - 1) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_bits_are_read() {
        let ignored = Ignored::of("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n");
        assert!(ignored.has(SIGHUP) && ignored.has(libc::SIGPIPE));
        assert!(!ignored.has(SIGINT) && !ignored.has(SIGTERM));
        assert!(!Ignored::of("").has(SIGHUP));
    }
}
