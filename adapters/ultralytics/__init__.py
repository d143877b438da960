"""Importing any module of this package imports ultralytics first, in the way of :mod:`adapters.ultralytics.offline`."""

from adapters.ultralytics.offline import import_quietly

import_quietly()
