"""The Python peer, told what to do by lines of its standard input, as child.rs tells ours."""

import ctypes
import signal
import sys
import time

from tooz import coordination

ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
signal.signal(signal.SIGINT, signal.SIG_DFL)

URL = sys.argv[2]
NAME = b"keyward-bench"

COORDINATOR = coordination.get_coordinator(URL, b"bench")
COORDINATOR.start()
LOCK = COORDINATOR.get_lock(NAME)


def reply(*words):
    print(*words, flush=True)


def kept(count):
    start = time.monotonic_ns()
    for _ in range(count):
        with LOCK:
            pass
    reply((time.monotonic_ns() - start) / count)


def anew(count):
    """As Cinder does: a lock object each time."""
    start = time.monotonic_ns()
    for _ in range(count):
        with COORDINATOR.get_lock(NAME):
            pass
    reply((time.monotonic_ns() - start) / count)


reply("ready")
while line := sys.stdin.readline():
    match line.split():
        case ["kept", count]:
            kept(int(count))
        case ["anew", count]:
            anew(int(count))
        case ["acquire"]:
            reply("waiting")
            LOCK.acquire()
            reply(time.monotonic_ns())
        case ["release", after_us]:
            time.sleep(int(after_us) / 1e6)
            at = time.monotonic_ns()
            LOCK.release()
            time.sleep(0.001)
            reply(at)
        case other:
            reply("!", "not known:", *other)
