//! Where the lock file of a name is: asked from the Python library, and proved by exclusion.
