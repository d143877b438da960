"""A class with several of the habits at once, none of which may cost its figures."""

from __future__ import annotations

from habits import ChangesFolder, OsPrints, PrintsAtExit, SessionDaemon


class Unruly(OsPrints, PrintsAtExit, ChangesFolder, SessionDaemon):
    """Prints by a command and at its exit, changes the current folder, and starts a helper in a session of its own."""
