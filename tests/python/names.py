"""Which names Cinder's decorator asks its coordinator for, in which order.

Each line of the input is a function's name and the templates of its decorator, between tabs; each line of
the output is the names, with Cinder's prefix. The functions have the arguments that names.rs gives to
ours. It is Cinder's own module `coordination`, as it was installed, that does it; only what that imports
of Cinder's other modules, and the locks that its coordinator would make, are of ours.
"""

import importlib.util
import logging
import os
import sys
import types


def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made
    return made


def coordination():
    """Cinder's module, without the hundred packages that the rest of Cinder needs."""
    found = importlib.util.find_spec("cinder")
    if found is None:
        sys.exit("cinder is not installed")
    path = os.path.join(found.submodule_search_locations[0], "coordination.py")

    class LockCreationFailed(Exception):
        pass

    cinder = module("cinder")
    cinder.exception = module("cinder.exception", LockCreationFailed=LockCreationFailed)
    cinder.i18n = module("cinder.i18n", _=lambda text: text)
    cinder.utils = module("cinder.utils", convert_str=lambda text: text.decode())
    module("oslo_log", log=module("oslo_log.log", getLogger=logging.getLogger))
    spec = importlib.util.spec_from_file_location("cinder.coordination", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Lock:
    """One that is free, and tells that it was acquired."""

    def __init__(self, name, acquired):
        self.name = name
        self.acquired = acquired

    def acquire(self, blocking):
        self.acquired.append(self.name.decode())
        return True

    def release(self):
        pass


class Locks:
    """What stands in for tooz behind Cinder's coordinator."""

    def __init__(self):
        self.acquired = []

    def get_lock(self, name):
        return Lock(name, self.acquired)


class Type:
    name = "ssd"


class Volume:
    id = "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11"
    host = "node-1@lvm"
    size = 8
    volume_type = Type()


class Service:
    driver = "LVM"


def names(cinder, f_name, templates):
    coordinator = cinder.Coordinator(prefix="cinder-")
    coordinator.coordinator = Locks()
    body = f"def {f_name}(self, volume, connector, pair, number, text='default', below=-5, real=1.0, flag=True): pass"
    scope = {}
    exec(body, scope)
    synchronized = cinder.synchronized(*templates, coordinator=coordinator)(scope[f_name])
    synchronized(Service(), Volume(), {"host": "compute-01"}, (7, "x"), number=42)
    return coordinator.coordinator.acquired


if __name__ == "__main__":
    cinder = coordination()
    for line in sys.stdin:
        f_name, *templates = line.rstrip("\n").split("\t")
        print("\t".join(names(cinder, f_name, templates)), flush=True)
