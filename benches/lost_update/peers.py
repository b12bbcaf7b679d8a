"""The Python peers: the same work as worker.rs does, with the same lines in the log."""

import ctypes
import os
import signal
import sys
import threading
import time

import pymysql

ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
signal.signal(signal.SIGINT, signal.SIG_DFL)

WHO, TARGET, PROCESS, REGISTER, TABLE, LOG, _, COMPUTE_US = sys.argv[1:9]
SOCKET = REGISTER.split("socket=")[1]
ENOUGH = 40

if WHO == "fasteners":
    import fasteners

    LOCK = fasteners.InterProcessLock(os.path.join(TARGET, "register"))
else:
    from tooz import coordination

    URL = f"mysql://root@localhost/mysql?unix_socket={SOCKET}"
    COORDINATOR = coordination.get_coordinator(URL, PROCESS.encode())
    COORDINATOR.start()
    LOCK = COORDINATOR.get_lock(b"register")

ENDED = threading.Event()


def wait_for_the_end():
    sys.stdin.read()
    ENDED.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()

FILE = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(operation, *event):
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.write(FILE, (" ".join(map(str, (now, operation, *event))) + "\n").encode())


def work(cursor, operation):
    cursor.execute(f"SELECT value, writer FROM app.{TABLE} WHERE id = 1")
    value, writer = cursor.fetchone()
    note(operation, "read", value, writer)
    time.sleep(int(COMPUTE_US) / 1e6)
    note(operation, "writes")
    cursor.execute(
        f"UPDATE app.{TABLE} SET value = %s, writer = %s WHERE id = 1", (value + 1, operation)
    )
    note(operation, "acked")


def main():
    register = pymysql.connect(unix_socket=SOCKET, user="root", autocommit=True)
    cursor = register.cursor()
    operation, failures = int(PROCESS) << 24, 0
    while not ENDED.is_set():
        operation += 1
        try:
            note(operation, "asks")
            if not LOCK.acquire():
                raise RuntimeError("not acquired")
            note(operation, "had")
            try:
                work(cursor, operation)
            finally:
                note(operation, "lets-go")
                if LOCK.release() is False:
                    note(operation, "late")
            failures = 0
        except Exception as error:
            note(operation, "failed")
            failures += 1
            if failures > ENOUGH:
                sys.exit(f"{WHO}: {error}")
            time.sleep(0.05)


main()
os._exit(0)
