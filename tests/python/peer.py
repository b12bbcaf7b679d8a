"""A process that locks as Python services do, driven line by line over stdin and stdout.

A line is a verb and `field=value` pairs, values percent-encoded; each is answered by one line:

    open library= place= prefix= name=                                  -> ok PATH
    acquire wait=forever|no|SECONDS mode=exclusive|shared               -> yes | no
    release                                                             -> ok
    loop id= rounds= seconds= wait= hold= dwell= gap= shared= log= witness=
                                                                        -> ok HELD LONGEST_WAIT_MS

The libraries are listed below. The place is a directory, or the URL of a MySQL server, whose locks have
no path but their name.

Whatever goes wrong is answered by `error …`. The process ends when its stdin does. `peer.py check FILE`
instead looks whether the packages that a requirements file pins are there.

`loop` is described in oracle.rs, which reads its log. Every acquisition goes through the API that
services use: `lockutils.lock(external=True)`, a coordinator's `get_lock` for each acquisition.
"""

import fcntl
import os
import queue
import random
import sys
import threading
import time
from urllib.parse import quote, unquote

LINE = 64  # bytes of a log line: no line crosses a page, so that a kill cannot cut one


class Fasteners:
    """fasteners.InterProcessLock, one object for all acquisitions."""

    def __init__(self, directory, prefix, name):
        import fasteners

        self.path = os.path.join(directory, prefix + name)
        self.lock = fasteners.InterProcessLock(self.path)

    def acquire(self, wait, shared):
        if shared:
            raise ValueError("fasteners.InterProcessLock has no shared mode")
        return self.lock.acquire(blocking=wait != 0, timeout=wait or None)

    def release(self):
        self.lock.release()


class ReaderWriter:
    """fasteners.InterProcessReaderWriterLock, whose shared mode is shared between processes."""

    def __init__(self, directory, prefix, name):
        import fasteners

        self.path = os.path.join(directory, prefix + name)
        self.lock = fasteners.InterProcessReaderWriterLock(self.path)

    def acquire(self, wait, shared):
        acquire = self.lock.acquire_read_lock if shared else self.lock.acquire_write_lock
        self.unlock = self.lock.release_read_lock if shared else self.lock.release_write_lock
        return acquire(blocking=wait != 0, timeout=wait or None)

    def release(self):
        self.unlock()


class Oslo:
    """oslo_concurrency.lockutils.lock(external=True); timeouts by external_lock, lock has none."""

    def __init__(self, directory, prefix, name):
        from oslo_concurrency import lockutils

        self.lockutils = lockutils
        self.place = {"lock_file_prefix": prefix or None, "lock_path": directory}
        self.name = name
        self.path = lockutils._get_lock_path(name, prefix or None, directory)

    def acquire(self, wait, shared):
        if shared:
            raise ValueError("oslo.concurrency has no shared mode between processes")
        if wait:
            lock = self.lockutils.external_lock(self.name, **self.place)
            if lock.acquire(timeout=wait):
                self.unlock = lock.release
                return True
            return False
        lock = self.lockutils.lock(self.name, external=True, blocking=wait is None, **self.place)
        try:
            lock.__enter__()
        except self.lockutils.AcquireLockFailedException:
            return False
        self.unlock = lambda: lock.__exit__(None, None, None)
        return True

    def release(self):
        self.unlock()


class Tooz:
    """A tooz coordinator on files, and a new lock of it for each acquisition, as in Cinder."""

    def __init__(self, directory, prefix, name):
        from tooz import coordination

        member = f"member-{os.getpid()}".encode()
        self.coordinator = coordination.get_coordinator(f"file://{directory}", member)
        self.coordinator.start(start_heart=True)
        self.name = os.fsencode(prefix + name)
        self.path = self.coordinator.get_lock(self.name)._lock.path

    def acquire(self, wait, shared):
        lock = self.coordinator.get_lock(self.name)
        blocking = True if wait is None else wait or False
        if lock.acquire(blocking=blocking, shared=shared):
            self.lock = lock
            return True
        return False

    def release(self):
        self.lock.release()


class ToozMysql:
    """A tooz coordinator on a MySQL server, and a new lock of it for each acquisition, as in Cinder."""

    def __init__(self, url, prefix, name):
        import tenacity
        from tooz import coordination

        self.gave_up = tenacity.RetryError
        member = f"member-{os.getpid()}".encode()
        self.coordinator = coordination.get_coordinator(url, member)
        self.coordinator.start(start_heart=True)
        self.path = prefix + name

    def get_lock(self):
        return self.coordinator.get_lock(os.fsencode(self.path))

    def acquire(self, wait, shared):
        lock = self.get_lock()
        try:
            # A number beyond a second is waited for at the server, all else is polled once a second.
            gotten = lock.acquire(blocking=True if wait is None else wait or False, shared=shared)
        except self.gave_up:
            return False  # what tooz lets through when its time is over
        if gotten:
            self.lock = lock
        return gotten

    def release(self):
        self.lock.release()


class ToozMysqlReused(ToozMysql):
    """The same with one lock object for all acquisitions, which connects anew for each."""

    def __init__(self, url, prefix, name):
        super().__init__(url, prefix, name)
        self.one = super().get_lock()

    def get_lock(self):
        return self.one


class ToozMysqlText(ToozMysql):
    """The same with the name as text on the wire, which is how PyMySQL sent it before 1.2."""

    def get_lock(self):
        return self.coordinator.get_lock(self.path)


class Nothing:
    """No lock at all, to show that the oracle notices."""

    def __init__(self, directory, prefix, name):
        self.path = os.path.join(directory, prefix + name)

    def acquire(self, wait, shared):
        return True

    def release(self):
        pass


LIBRARIES = {
    "fasteners": Fasteners,
    "rw": ReaderWriter,
    "oslo": Oslo,
    "tooz": Tooz,
    "tooz-mysql": ToozMysql,
    "tooz-mysql-reused": ToozMysqlReused,
    "tooz-mysql-text": ToozMysqlText,
    "none": Nothing,
}


def waiting(word):
    """None: for ever; 0: not at all; else seconds. One in three each for `mixed`."""
    if word == "mixed":
        return random.choice([None, 0, random.uniform(0.001, 0.2)])
    return {"forever": None, "no": 0}.get(word, word) if word in ("forever", "no") else float(word)


def loop(lock, fields):
    rounds, seconds = int(fields["rounds"]), float(fields["seconds"])
    hold, dwell, gap = (int(fields[field]) / 1e6 for field in ("hold", "dwell", "gap"))
    share_of_shared = int(fields["shared"]) / 100
    log = os.open(fields["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    witness = os.open(fields["witness"], os.O_RDWR | os.O_CREAT)
    name = fields["id"] + ":0"

    def note(letter):
        os.write(log, f"{letter} {name}".ljust(LINE - 1).encode() + b"\n")

    held, longest, end = 0, 0.0, time.monotonic() + seconds
    while (not rounds or held < rounds) and (not seconds or time.monotonic() < end):
        shared = random.random() < share_of_shared
        began = time.monotonic()
        gotten = lock.acquire(waiting(fields["wait"]), shared)
        longest = max(longest, time.monotonic() - began)
        if not gotten:
            note("N")
            continue
        held += 1
        note("S" if shared else "E")
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(witness, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            note("W")
            fcntl.flock(witness, mode)
        dwells = dwell and random.random() < 1 / 300
        time.sleep(dwell if dwells else random.uniform(0, hold))
        fcntl.flock(witness, fcntl.LOCK_UN)
        note("X")
        lock.release()
        time.sleep(random.uniform(0, gap))
    os.close(log)
    os.close(witness)
    return f"ok {held} {longest * 1000:.0f}"


def read_lines(lines):
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def serve():
    lines = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    lock = None
    while True:
        verb, *pairs = lines.get().split()
        fields = dict(pair.split("=", 1) for pair in pairs)
        fields = {key: unquote(text, errors="surrogateescape") for key, text in fields.items()}
        try:
            if verb == "open":
                where = fields["place"], fields["prefix"], fields["name"]
                lock = LIBRARIES[fields["library"]](*where)
                answer = "ok " + quote(os.fsencode(lock.path))
            elif verb == "acquire":
                gotten = lock.acquire(waiting(fields["wait"]), fields["mode"] == "shared")
                answer = "yes" if gotten else "no"
            elif verb == "release":
                lock.release()
                answer = "ok"
            elif verb == "loop":
                answer = loop(lock, fields)
            else:
                answer = f"error no verb {verb}"
        except Exception as e:
            answer = "error " + repr(e).replace("\n", " ")
        print(answer, flush=True)


def check(requirements):
    """Prints what is missing or of another version, if anything."""
    from importlib import metadata

    with open(requirements) as pins:
        for pin in pins:
            pin = pin.split("#")[0].strip()
            if not pin:
                continue
            package, version = pin.split("==")
            try:
                found = metadata.version(package)
            except metadata.PackageNotFoundError:
                found = "not installed"
            if found != version:
                print(f"{pin} ({found})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
    else:
        serve()
