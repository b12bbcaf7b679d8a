//! Standard error, written by a thread of its own: whoever does not read it holds up nobody.
//!
//! V1. To say something never waits. A line that finds no room is dropped, and how many those were is told
//!     when there is room again.
//! V2. Lines come out whole, and in the order in which they were said.
//! V3. Who ends waits for what is still to be written, but not for long.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

/// How many lines wait for somebody who reads.
const ROOM: usize = 256;

/// How long the end waits for somebody who reads: long enough for one who is slow, short enough for
/// whoever waits for us.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Voice {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicUsize>,
    /// Ends when everything is written.
    written: Receiver<()>,
}

impl Voice {
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, said) = sync_channel(ROOM);
        let (end, written) = sync_channel(0);
        let dropped = Arc::default();
        let counted = Arc::clone(&dropped);
        thread::Builder::new().name("voice".to_owned()).spawn(move || {
            write_all(out, &said, &counted);
            drop(end);
        })?;
        Ok(Self { lines, dropped, written })
    }

    /// A line, with its end.
    pub(crate) fn say(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, or for [`PATIENCE`] (V3).
    pub(crate) fn end(self) {
        let Self { lines, written, .. } = self;
        drop(lines);
        let _ = written.recv_timeout(PATIENCE);
    }
}

fn write_all(mut out: impl Write, said: &Receiver<Vec<u8>>, dropped: &AtomicUsize) {
    loop {
        let line = match said.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                tell(&mut out, dropped);
                said.recv().ok()
            }
        };
        let Some(line) = line else { return };
        // That nobody reads any more is no failure.
        drop(out.write_all(&line));
    }
}

/// How many lines there was no room for, once those before them are out.
fn tell(out: &mut impl Write, dropped: &AtomicUsize) {
    match dropped.swap(0, Ordering::Relaxed) {
        0 => {}
        many => drop(writeln!(out, "keyward: nobody has read this; {many} more lines are missing")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};

    use super::*;

    fn everything(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lines_come_out_in_order_before_the_end() {
        let (reader, writer) = pipe().unwrap();
        let voice = Voice::start(writer).unwrap();
        for number in 0..100 {
            voice.say(format!("{number}\n").into_bytes());
        }
        voice.end();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(everything(reader), expected);
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let (reader, writer) = pipe().unwrap();
        let voice = Voice::start(writer).unwrap();
        // One that does not fit into a pipe, so that the thread stands while the others are said.
        let long = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        voice.say(long);
        let many = 1_000;
        for number in 0..many {
            voice.say(format!("{number}\n").into_bytes());
        }
        let reads = thread::spawn(move || everything(reader));
        voice.end();
        let text = reads.join().unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        let (last, kept) = lines.split_last().unwrap();
        assert!(kept.iter().enumerate().all(|(n, line)| **line == n.to_string()), "{kept:?}");
        let missing = format!("; {} more lines are missing", many - kept.len());
        assert!(kept.len() >= ROOM - 1 && last.ends_with(&missing), "{last}");
    }

    #[test]
    fn the_end_comes_though_nobody_reads() {
        let (reader, writer) = pipe().unwrap();
        let voice = Voice::start(writer).unwrap();
        voice.say(vec![b'x'; 1 << 20]);
        voice.end();
        drop(reader);
    }
}
