"""TCP servers on loopback that behave badly, each in its own thread."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Listener:
    """`serve(number, connection)` gets each connection, counted from 0, in a thread; it is closed afterwards."""

    def __init__(self, serve: Callable[[int, socket.socket], None]) -> None:
        self.accepted = 0
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            number, self.accepted = self.accepted, self.accepted + 1
            with self._lock:
                self._open.add(connection)
            thread = threading.Thread(target=self._one, args=(number, connection))
            self._threads.append(thread)
            thread.start()

    def _one(self, number: int, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(number, connection)
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        # A close alone does not wake a thread that accepts or receives.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._threads[0].join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def listening(serve: Callable[[int, socket.socket], None]) -> Iterator[Listener]:
    """Listen while the block runs."""
    listener = Listener(serve)
    try:
        yield listener
    finally:
        listener.close()


def stall(number: int, connection: socket.socket, *, after: bytes = b"") -> None:
    """Send `after`, then nothing more until the client closes."""
    connection.sendall(after)
    while connection.recv(4096):
        pass


def hang_up(number: int, connection: socket.socket, *, after: bytes = b"", reset: bool = False) -> None:
    """Send `after` and close; with `reset`, wait for data from the client and close with RST instead of FIN."""
    connection.sendall(after)
    if reset:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def passing_on_to(port: int, *, dropping: int = 0) -> Callable[[int, socket.socket], None]:
    """Return a `serve` that drops the first `dropping` connections and forwards the others to `port`."""

    def serve(number: int, connection: socket.socket) -> None:
        if number < dropping:
            hang_up(number, connection)
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_copy, args=(server, connection))
            back.start()
            _copy(connection, server)
            back.join()

    return serve


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
