"""The Python peers, told what to do by lines of their standard input, as children.rs tells ours."""

import ctypes
import os
import resource
import signal
import sys
import time

ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
signal.signal(signal.SIGINT, signal.SIG_DFL)

WHO, DIRECTORY = sys.argv[1:3]

if WHO == "fasteners":
    import fasteners

    LOCK = fasteners.InterProcessLock(os.path.join(DIRECTORY, "x"))
    acquire, release = LOCK.acquire, LOCK.release
else:
    from oslo_concurrency import lockutils

    HELD = []

    def acquire(timeout=None):
        context = lockutils.lock("x", external=True, lock_path=DIRECTORY)
        context.__enter__()
        HELD.append(context)

    def release():
        HELD.pop().__exit__(None, None, None)


def reply(*words):
    print(*words, flush=True)


def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e6, used.ru_nvcsw + used.ru_nivcsw


def hot(count):
    start = time.monotonic_ns()
    if WHO == "fasteners":
        for _ in range(count):
            with LOCK:
                pass
    else:
        for _ in range(count):
            with lockutils.lock("x", external=True, lock_path=DIRECTORY):
                pass
    reply((time.monotonic_ns() - start) / count)


def churn(begin, end, hold_us):
    time.sleep(max(0, begin - time.monotonic_ns()) / 1e9)
    settled = begin + (end - begin) // 10
    counted = every = 0
    _, before = usage()
    while True:
        acquire()
        at = time.monotonic_ns()
        every += 1
        counted += settled <= at < end
        if at < end and hold_us:
            time.sleep(hold_us / 1e6)
        release()
        if at >= end:
            break
    reply(counted, every, usage()[1] - before)


def wait(seconds):
    before, _ = usage()
    start = time.monotonic_ns()
    acquire(timeout=seconds)
    reply((usage()[0] - before) * 1e9 / (time.monotonic_ns() - start))


reply("ready")
while line := sys.stdin.readline():
    match line.split():
        case ["hot", count]:
            hot(int(count))
        case ["acquire"]:
            reply("waiting")
            acquire()
            reply(time.monotonic_ns())
        case ["release", after_us]:
            time.sleep(int(after_us) / 1e6)
            at = time.monotonic_ns()
            release()
            time.sleep(0.001)
            reply(at)
        case ["churn", begin, end, hold_us]:
            churn(int(begin), int(end), int(hold_us))
        case ["wait", "1", seconds]:
            wait(float(seconds))
        case other:
            reply("!", "not known:", *other)
