"""Work in other threads, ahead of the main thread or behind it, in order and with a bounded queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

Given = TypeVar("Given")
Done = TypeVar("Done")


def done_ahead(
    work: Callable[[Given], Done],
    items: Iterable[Given],
    threads: int,
    ahead: int,
    begin: Callable[[], None] | None = None,
) -> Iterator[Done]:
    """Give ``work(item)`` for every item, in their order, computed by ``threads`` threads before it is asked for.

    At most ``ahead`` values are being computed or wait to be taken. An exception of the work is raised where its value
    would have come. Each thread calls ``begin`` first.
    """
    waiting: deque[Future[Done]] = deque()
    executor = ThreadPoolExecutor(threads, initializer=begin)
    try:
        for item in items:
            waiting.append(executor.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


class Background:
    """Calls ``work`` in one thread of its own, in the given order. At most ``ahead`` calls wait. The thread calls
    ``begin`` first.

    An exception of the work is raised here, at one of the next calls or at the end of the ``with`` block. A block that
    ends with an exception, Ctrl-C included, drops the calls that wait.
    """

    def __init__(self, work: Callable[..., None], ahead: int = 16, begin: Callable[[], None] | None = None) -> None:
        self._work = work
        self._ahead = ahead
        self._waiting: deque[Future[None]] = deque()
        self._executor = ThreadPoolExecutor(1, initializer=begin)

    def __call__(self, *arguments: Any) -> None:
        while self._waiting and (len(self._waiting) >= self._ahead or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(self._work, *arguments))

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._executor.shutdown(cancel_futures=True)
