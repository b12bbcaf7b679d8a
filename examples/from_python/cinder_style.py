"""A service as Cinder is one: tooz's file driver, names with a prefix and a template.

cinder_style.py STATE_PATH COUNTER ROUNDS
"""

import sys
import time
import uuid

from tooz import coordination

state_path, counter, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])

coordinator = coordination.get_coordinator(f"file://{state_path}", uuid.uuid4().bytes)
coordinator.start()


def synchronized(template):
    """What cinder.coordination.synchronized does with a template and the call's arguments."""

    def decorate(function):
        def locked(**arguments):
            name = "cinder-" + template.format(f_name=function.__name__, **arguments)
            with coordinator.get_lock(name.encode("ascii")):
                return function(**arguments)

        return locked

    return decorate


@synchronized("{volume_id}")
def extend(volume_id):
    with open(counter) as file:
        count = int(file.read())
    time.sleep(0.001)
    with open(counter, "w") as file:
        file.write(str(count + 1))


for _ in range(rounds):
    extend(volume_id="vol-42")
coordinator.stop()
