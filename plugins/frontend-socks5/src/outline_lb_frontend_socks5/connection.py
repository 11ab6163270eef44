"""One client, from its first byte until the carrier takes its flow, or it has its association."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from outline_lb.api import Buffer, DialError, Flow, FrontendDeps, Network, StartError, Stream, StreamSink

from .associations import Associations
from .protocol import REPS, Command, Credentials, Event, Handshake, RefusedError, Rep, Request, encode_reply
from .users import Brake, Users

log = structlog.get_logger("socks5")

DEADLINE: Final = 10.0
"""Seconds for the whole handshake: greeting, authentication and request together."""


class Connection(StreamSink):
    """The sink of a client whose handshake is under way.

    :param stream: the client's, paused; becomes ours
    :param deps: what the frontend was built with
    :param users: who may come in; None: everybody
    :param brake: slows those down who guess
    :param associations: for clients with packets; None: they are turned away
    :param done: called when the handshake is over, however it went; may be called again
    """

    __slots__ = (
        *("_answer", "_associations", "_brake", "_client", "_deadline", "_deps", "_done", "_handshake", "_started", "_stream", "_user", "_users"),
    )

    def __init__(
        self,
        stream: Stream,
        deps: FrontendDeps,
        users: Users | None,
        brake: Brake,
        associations: Associations | None,
        done: Callable[[Connection], object],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._stream = stream
        self._client = stream.peer_address
        self._deps = deps
        self._users = users
        self._brake = brake
        self._associations = associations
        self._done = done
        self._handshake = Handshake(authenticate=users is not None)
        self._user = ""
        self._started = loop.time()
        self._deadline = loop.call_later(DEADLINE, self._refuse, f"the handshake takes longer than {DEADLINE:g} s")
        self._answer: asyncio.TimerHandle | None = None
        stream.set_sink(self)
        stream.resume_reading()

    def abort(self) -> None:
        """Give the handshake up."""
        self._finish()
        self._stream.abort()

    # -- called by the stream

    def data_received(self, data: Buffer) -> None:
        self._advance(lambda: self._handshake.feed(data))

    def eof_received(self) -> None:
        self._finish()
        self._stream.close()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    # -- the handshake

    def _advance(self, step: Callable[[], Event | None]) -> None:
        try:
            event = step()
        except RefusedError as exc:
            self._stream.write(self._handshake.take())
            self._refuse(str(exc))
            return
        if isinstance(event, Credentials):
            self._authenticate(event)
            return
        self._stream.write(self._handshake.take())
        if event is None:
            return
        if event.command is Command.UDP_ASSOCIATE:
            self._associate()
        else:
            self._carry(event)

    def _authenticate(self, credentials: Credentials) -> None:
        assert self._users is not None
        loop = asyncio.get_running_loop()
        delay = self._brake.delay(self._client, loop.time())
        accepted = self._users.know(credentials)
        if accepted:
            self._user = credentials.name.decode()
        else:
            self._brake.failed(self._client, loop.time())
        if delay:
            self._stream.pause_reading()
            self._answer = loop.call_later(delay, self._judge, accepted)
        else:
            self._judge(accepted)

    def _judge(self, accepted: bool) -> None:
        self._stream.resume_reading()
        self._advance(lambda: self._handshake.judge(accepted))

    def _carry(self, request: Request) -> None:
        self._finish()
        deps = self._deps
        flow = Flow(deps.name, Network.TCP, self._client, self._user, request.target, self._started)
        deps.carrier.carry(flow, self._stream, deps.dialer, self._opened, self._failed, request.payload)

    def _associate(self) -> None:
        if self._associations is None:
            self._turn_away(Rep.COMMAND_NOT_SUPPORTED, "wants packets, and the configuration says `udp: false`")
            return
        if Network.UDP not in self._deps.dialer.networks:
            self._turn_away(Rep.COMMAND_NOT_SUPPORTED, "wants packets, and no upstream carries any: give one a `udp` URL, or write `udp: false`")
            return
        try:
            relay = self._associations.open(self._stream, self._client, self._user)
        except StartError as exc:
            self._turn_away(Rep.GENERAL_FAILURE, str(exc))
            return
        self._finish()
        self._stream.write(encode_reply(Rep.SUCCEEDED, relay))

    def _turn_away(self, rep: Rep, why: str) -> None:
        self._stream.write(encode_reply(rep))
        self._refuse(why)

    def _opened(self, stream: Stream) -> None:
        self._stream.write(encode_reply(Rep.SUCCEEDED, stream.local_address))

    def _failed(self, error: DialError) -> None:
        self._stream.write(encode_reply(REPS[error.reason]))
        self._stream.close()

    def _refuse(self, why: str) -> None:
        log.info("handshake refused", frontend=self._deps.name, client=str(self._client), reason=why)
        self._finish()
        self._stream.close()

    def _finish(self) -> None:
        """The handshake is over."""
        self._deadline.cancel()
        if self._answer is not None:
            self._answer.cancel()
        self._done(self)
