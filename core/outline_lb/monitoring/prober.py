"""Runs the probes of a pool on one upstream, and says what they found out together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import structlog

from ..base.duration import format_duration
from ..base.errors import DialError, TargetError, UpstreamError, describe
from ..base.flow import Network
from ..datapath.upstream import Upstream
from .lag import LoopLag
from .probe import Probe

log = structlog.get_logger("health")

MAX_LAG: Final = 0.25
"""Share of a probe's time limit for which the event loop may be stuck, before the probe's result is doubted."""
_LOOKS = 20  # at the loop, in the time limit of a probe


@dataclass(frozen=True, slots=True)
class Finding:
    """What the probes say about one upstream.

    :param works: None if they say nothing
    :param seconds: what the last probe that measured took; None if that is not known
    :param error: why it does not work
    :param doubtful: a probe failed, but this may be why; "": it did not, or there is no excuse
    """

    works: bool | None = None
    seconds: float | None = None
    error: DialError | None = None
    doubtful: str = ""


class Prober:
    """The probes of one pool: they run in order, and all must succeed.

    The time that counts is the last one's: put the probe that comes closest to real use at the end. A probe that returns None is left out; one that
    breaks (any exception but `DialError` and `TimeoutError`) or that could not reach its own target is reported once and left out as well.
    While the event loop is stuck, nobody looks at the answers: a failure is then doubtful, and a success counts without its time. A probe that got
    no answer while bytes came for flows over the same upstream is doubtful too: it had to queue behind them.

    :param probes: at least one, if anything is to be found out
    :param timeout: seconds that one probe may take
    """

    def __init__(self, probes: Sequence[Probe], timeout: float) -> None:
        self._probes = probes
        self._timeout = timeout
        self._reported: set[tuple[int, type[BaseException]]] = set()

    async def run(self, upstream: Upstream, network: Network) -> Finding:
        """Try the upstream once. Trouble is in the finding; nothing is raised."""
        finding = Finding()
        for probe in self._probes:
            with LoopLag(self._timeout / _LOOKS) as lag:
                found = await self._measure(probe, upstream, network)
            stuck = lag.seconds > self._timeout * MAX_LAG
            if found.works is False:
                return Finding(doubtful="the event loop was stuck") if stuck else found
            if found.doubtful:
                return found
            if found.works:
                finding = Finding(works=True) if stuck else found
        return finding

    async def _measure(self, probe: Probe, upstream: Upstream, network: Network) -> Finding:
        way = upstream.ways[network]
        received = way.received
        try:
            with anyio.fail_after(self._timeout):
                seconds = await probe.measure(upstream, network)
        except TimeoutError:
            if way.received > received:
                return Finding(doubtful="flows were moving: the way is full")
            limit = format_duration(self._timeout)
            return Finding(works=False, error=UpstreamError("probe", TimeoutError(f"no answer within {limit}")))
        except TargetError as exc:  # the upstream is not to blame
            self._report(probe, upstream, exc)
        except DialError as exc:
            return Finding(works=False, error=exc)
        except Exception as exc:
            self._report(probe, upstream, exc)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._report(probe, upstream, exc)  # not ours: the probe waited for something that somebody else cancelled
        else:
            if seconds is not None:
                return Finding(works=True, seconds=seconds)
        return Finding()

    def _report(self, probe: Probe, upstream: Upstream, exc: BaseException) -> None:
        if (id(probe), type(exc)) in self._reported:
            return
        self._reported.add((id(probe), type(exc)))
        plugin = f"{type(probe).__module__}.{type(probe).__qualname__}"
        error = str(exc) if isinstance(exc, TargetError) else f"{type(exc).__name__}: {describe(exc)}"
        log.warning("probe says nothing, its result is left out", probe=plugin, upstream=upstream.name, error=error)
