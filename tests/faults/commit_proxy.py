"""A TCP proxy before PostgreSQL that loses the answer to a COMMIT: no client can know what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

_WROTE = re.compile(rb"(INSERT 0|UPDATE|DELETE) [1-9]")


class CommitProxy:
    """Runs in a thread from ``__enter__`` to ``__exit__``; ``url`` is what a client connects to.

    Reads only the framing of the server's messages (protocol 3.0: type, length, body) and the tag of
    CommandComplete. Only the COMMIT of a transaction that wrote something is worth losing.
    """

    def __init__(self, database_url: str) -> None:
        self._url = make_url(database_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="commit-proxy", daemon=True)
        self._lose_next = threading.Event()
        self.port = 0
        self.lost = 0

    @property
    def url(self) -> str:
        through = self._url.set(host="127.0.0.1", port=self.port, query={"sslmode": "disable"})
        return through.render_as_string(hide_password=False)

    def lose_next(self) -> None:
        """Cut the connection in place of the next answer to a COMMIT."""
        self._lose_next.set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)  # the loop closes the sockets in its next turns

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await self._connect()
            try:
                await self._pass_on(client, to_client, server, to_server)
            finally:
                to_server.transport.abort()
        finally:  # whatever it was doing when it was cancelled, even if that was the connecting
            to_client.transport.abort()

    async def _pass_on(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        ways = [
            asyncio.ensure_future(self._forward(client, to_server)),
            asyncio.ensure_future(self._answer(server, to_client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = self._url.query.get("host")
        if isinstance(folder, str):
            port = self._url.query.get("port", "5432")
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._url.host, self._url.port or 5432)

    async def _forward(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await client.read(65_536):
                to_server.write(data)
                await to_server.drain()

    async def _answer(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        wrote = False
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                header = await server.readexactly(5)
                body = await server.readexactly(int.from_bytes(header[1:]) - 4)
                if header[:1] == b"C":
                    if body == b"COMMIT\0" and wrote and self._lose_next.is_set():
                        self._lose_next.clear()
                        self.lost += 1
                        return
                    wrote = body != b"COMMIT\0" and (wrote or _WROTE.match(body) is not None)
                to_client.write(header + body)
                await to_client.drain()
