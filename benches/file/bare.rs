//! The bare system calls: record locks that belong to the open file, usage, and who is blocked.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, fcntl},
    libc,
    sys::{
        resource::{UsageWho, getrusage},
        stat::fstatat,
        time::TimeValLike,
    },
};

/// The lock file of every contestant that is told a path and not a name.
pub(crate) const NAME: &str = "x";

/// Opens the lock file of a directory as Python's libraries do.
pub(crate) fn open(directory: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).open(directory.join(NAME))
}

const fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// False if somebody else has it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Blocks the thread.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLKW(&whole_file(libc::F_WRLCK)))?;
    Ok(())
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

/// The inode that a name in a directory has.
pub(crate) fn inode(directory: &File, name: &str) -> io::Result<u64> {
    Ok(fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_ino)
}

/// What this process has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_us: i64,
    pub(crate) switches: i64,
}

pub(crate) fn usage() -> Usage {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("there is a usage");
    Usage {
        cpu_us: (usage.user_time() + usage.system_time()).num_microseconds(),
        switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
    }
}

/// Whose locks are looked at in the kernel's list.
pub(crate) struct Watched(Vec<String>);

impl Watched {
    /// The files of a directory and of its folders; the list names a file by its inode.
    pub(crate) fn below(directory: &Path) -> io::Result<Self> {
        let (mut inodes, mut folders) = (Vec::new(), vec![directory.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    inodes.push(format!(":{} ", entry.metadata()?.ino()));
                }
            }
        }
        Ok(Self(inodes))
    }

    /// How many locks are held, and how many wait.
    pub(crate) fn count(&self) -> io::Result<(usize, usize)> {
        let list = fs::read_to_string("/proc/locks")?;
        let ours = list.lines().filter(|line| self.0.iter().any(|inode| line.contains(inode)));
        let (waiting, held): (Vec<&str>, Vec<&str>) = ours.partition(|line| line.contains("->"));
        Ok((held.len(), waiting.len()))
    }
}
