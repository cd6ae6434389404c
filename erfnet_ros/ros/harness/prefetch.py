"""Messages of a bag, read on a thread ahead of whoever plays them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.reader import BagReader, Message

OnBroken = Callable[[int, str], None]


class Ahead:
    """Read some messages of a topic on a thread, ahead of who takes them, as many as a budget holds.

    Args:
        reader: The bag.
        topic: Its topic.
        indexes: Ascending; which messages of the topic.
        budget_bytes: Memory for those that wait.
        on_broken: Called on the thread with index and reason of a message that is left out: its bytes are no message.
    """

    def __init__(
        self, reader: BagReader, topic: str, indexes: Sequence[int], budget_bytes: int, on_broken: OnBroken
    ) -> None:
        self._reader, self._topic, self._indexes = reader, topic, indexes
        self._budget_bytes, self._on_broken = budget_bytes, on_broken
        self._waiting: deque[tuple[int, Message]] = deque()
        self._bytes = 0
        self._done = self._stopped = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Memory that is in use."""
        with self._changed:
            return self._bytes

    def wait_until_filled(self) -> None:
        """Wait until the budget is used or everything is read."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._bytes >= self._budget_bytes)

    def __iter__(self) -> Iterator[tuple[int, Message]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._done or self._waiting)
                if not self._waiting:
                    if self._error is not None:
                        raise self._error
                    return
                index, message = self._waiting.popleft()
                self._bytes -= len(message.data)
                self._changed.notify_all()
            yield index, message

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:
            # Raised where the messages are taken.
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _read(self) -> None:
        wanted = iter(self._indexes)
        next_wanted = next(wanted, None)
        for index, message in enumerate(self._reader.messages([self._topic])):
            if next_wanted is None or self._stopped:
                return
            if index != next_wanted:
                continue
            next_wanted = next(wanted, None)
            try:
                # Bytes that are no message would end the subscriber that takes them.
                self._reader.decode(message)
            except BagError as error:
                self._on_broken(index, str(error))
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._bytes < self._budget_bytes or self._stopped)
                self._waiting.append((index, message))
                self._bytes += len(message.data)
                self._changed.notify_all()
