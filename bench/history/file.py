"""The file of a history: an SQLite database, its tables and its transactions.

Every transaction that writes begins with ``BEGIN IMMEDIATE``: writers queue for the one lock, up to
:data:`LOCK_TIMEOUT_S`. A writer that is killed leaves a journal, which the next one to open the file rolls back.

The journal is SQLite's default one and no write-ahead log. "WAL does not work over a network filesystem"
(https://www.sqlite.org/wal.html), but SQLite does not refuse it there; and after a kill it would leave a second file,
without which a copy lacks the newest transactions. On a network drive the history still depends on the drive's locks,
which are wrong in many NFS implementations (https://www.sqlite.org/lockingv3.html, section 6): keep a history on a disk
of one host, or append from one job at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from bench.errors import UserError

APPLICATION_ID = 0x6D61736B
"""``mask`` in ASCII, in the header of the file, by which ``file(1)`` and this module recognise a history."""

SCHEMA_VERSION = 1
FILE_NAME = "history.sqlite"
LOCK_TIMEOUT_S = 60.0

_METADATA = sa.MetaData()

RUNS = sa.Table(
    "runs",
    _METADATA,
    # AUTOINCREMENT: the number of a run that was pruned is never given again.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("appended", sa.Text, nullable=False),
    sa.Column("measured", sa.Text),
    sa.Column("commit", sa.Text),
    sa.Column("branch", sa.Text, index=True),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("maskbench", sa.Text),
    sa.Column("gate", sa.Text),
    sa.Column("digest", sa.Text, nullable=False, index=True),
    sqlite_autoincrement=True,
)
CONTENTS = sa.Table(
    "contents",
    _METADATA,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("zlib", sa.LargeBinary, nullable=False),
)
RESULTS = sa.Table(
    "results",
    _METADATA,
    sa.Column("run", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("sha256", sa.ForeignKey("contents.sha256"), nullable=False, index=True),
)
"""A run is what one command appended. Each of its results points to the content of its ``result.json``; equal contents
are kept once."""


class HistoryFile:
    """Opens transactions on the file, and turns SQLite's errors into a UserError of one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        sa.event.listen(self._engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one state of the history.

        Raises:
            UserError: the file is absent, no history, or of another schema.
        """
        if not self.path.exists():
            raise UserError(f"{self.path}: no such history; a run with history={self.path} begins one")
        with self._told(), self._engine.connect() as connection, connection.begin():
            if not self._is_ours(connection):
                raise UserError(f"{self.path}: nothing was appended to this history yet")
            yield connection

    def check(self) -> None:
        """See whether this is a history, or an empty or absent file, which the first transaction makes one.

        Raises:
            UserError: it is something else, or cannot be read.
        """
        if self.path.exists():
            with self._told(), self._engine.connect() as connection, connection.begin():
                self._is_ours(connection)

    @contextmanager
    def writing(self, *, create: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that has the lock from its beginning: all of it is kept, or nothing.

        Args:
            create: make the history where there is none, its folder included

        Raises:
            UserError: as :meth:`reading`; or another process holds the lock too long; or the file cannot be written.
        """
        if create:
            self._make_folder()
        elif not self.path.exists():
            raise UserError(f"{self.path}: no such history")
        options = {"begin": "IMMEDIATE"}
        with self._told(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            if not self._is_ours(connection):
                _METADATA.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            yield connection

    def vacuum(self) -> None:
        """Give the space of deleted runs back."""
        with self._told():
            connection = self._connect()
            try:
                connection.execute("VACUUM")
            finally:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        # With isolation_level None, sqlite3 begins no transaction of its own; ``_begin`` alone does.
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.resolve()))}", uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _is_ours(self, connection: sa.Connection) -> bool:
        """Say whether the file is a history; False for a database that is still empty."""
        owner, version, tables, others = (
            int(connection.exec_driver_sql(query).scalar_one())
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
                "SELECT count(*) FROM sqlite_master WHERE type IN ('view', 'trigger')",
            )
        )
        if owner == APPLICATION_ID:
            if version != SCHEMA_VERSION:
                raise UserError(
                    f"{self.path}: a history of schema {version}, this maskbench reads {SCHEMA_VERSION}; "
                    "use the maskbench that wrote it, or another file"
                )
            if others:
                raise UserError(f"{self.path}: has views or triggers, which no history has; give another file")
            return True
        if owner or tables:
            raise UserError(f"{self.path}: an SQLite database, but not a history of maskbench; give another file")
        return False

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path.parent}: cannot be made: {error.strerror or error}") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into our messages."""
        try:
            yield
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            cause = str(getattr(error, "orig", error))
            if "not a database" in cause:
                raise UserError(f"{self.path}: not an SQLite file, so no history; give another file") from error
            if "locked" in cause:
                raise UserError(
                    f"{self.path}: another process has had it locked for {LOCK_TIMEOUT_S:.0f} s; try again"
                ) from error
            if isinstance(getattr(error, "orig", error), sqlite3.OperationalError) or "malformed" in cause:
                raise UserError(f"{self.path}: SQLite cannot use it: {cause}") from error
            raise


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
