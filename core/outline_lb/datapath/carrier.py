"""Takes a flow from an accepted stream to its end."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from anyio.abc import TaskGroup

from ..base.dialer import StreamDialer
from ..base.errors import DialError
from ..base.flow import Flow
from ..base.stream import Stream
from .relay import relay

log = structlog.get_logger("datapath")


class Carrier:
    """Dials for a flow, tells the frontend how it went, and joins the streams.

    :param tasks: where the dials run; ending it ends them
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def carry(
        self,
        flow: Flow,
        client: Stream,
        dialer: StreamDialer,
        opened: Callable[[Stream], None],
        failed: Callable[[DialError], None],
        first: bytes = b"",
    ) -> None:
        """Open a stream for a flow and join it with the client's. Returns at once.

        :param flow: whose target is meant
        :param client: the application's stream, paused
        :param dialer: opens the other one
        :param opened: called with the stream that was opened, before the first byte goes through: to tell the client that it may go ahead
        :param failed: called when no stream could be opened: to tell the client why, and close its stream
        :param first: what the client has sent already
        """
        self._tasks.start_soon(self._carry, flow, client, dialer, opened, failed, first)

    async def _carry(
        self,
        flow: Flow,
        client: Stream,
        dialer: StreamDialer,
        opened: Callable[[Stream], None],
        failed: Callable[[DialError], None],
        first: bytes,
    ) -> None:
        try:
            stream = await dialer.dial_stream(flow, first)
        except DialError as exc:
            log.info("flow failed", flow=flow.id, target=str(flow.target), error=str(exc))
            failed(exc)
        except BaseException:
            client.abort()
            raise
        else:
            opened(stream)
            relay(client, stream)
