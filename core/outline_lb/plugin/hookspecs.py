"""All hooks, and nothing else: the whole extension surface.

*Registration hooks* are called once, while the program starts. A plugin implements the one of its kind::

    from outline_lb.api import Registration, hookimpl

    @hookimpl
    def outline_lb_policies():
        return [Registration(type="mine", schema={...}, parse=Options.parse, build=Mine)]

*Notification hooks* are called when something happened. They are synchronous and must return at once; one that raises is reported, counted and
after some failures no longer called. None is called for each read or write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .markers import hookspec

if TYPE_CHECKING:
    from ..base.flow import Flow, Network
    from ..datapath.cipher import Cipher
    from ..datapath.frontend import Frontend, FrontendDeps
    from ..datapath.transport import Listener, ListenerDeps, Transport, TransportDeps
    from ..monitoring.probe import Probe
    from ..selection.policy import Policy
    from .registration import Registration


@hookspec
def outline_lb_frontends() -> Iterable[Registration[Any, FrontendDeps, Frontend]]:  # type: ignore[empty-body]
    """Contribute frontends: what applications speak.

    :return: one registration for each entry point of the group ``outline_lb.frontends`` that names this module
    """


@hookspec
def outline_lb_transports() -> Iterable[Registration[Any, TransportDeps, Transport]]:  # type: ignore[empty-body]
    """Contribute transports: ways to a server.

    :return: one registration for each entry point of the group ``outline_lb.transports`` that names this module
    """


@hookspec
def outline_lb_listeners() -> Iterable[Registration[Any, ListenerDeps, Listener]]:  # type: ignore[empty-body]
    """Contribute listeners: the accepting half of a transport.

    :return: one registration for each entry point of the group ``outline_lb.listeners`` that names this module
    """


@hookspec
def outline_lb_ciphers() -> Iterable[Registration[Any, None, Cipher]]:  # type: ignore[empty-body]
    """Contribute ciphers: what makes a stream to a server one to a target.

    :return: one registration for each entry point of the group ``outline_lb.ciphers`` that names this module
    """


@hookspec
def outline_lb_policies() -> Iterable[Registration[Any, None, Policy]]:  # type: ignore[empty-body]
    """Contribute selection policies.

    :return: one registration for each entry point of the group ``outline_lb.policies`` that names this module
    """


@hookspec
def outline_lb_probes() -> Iterable[Registration[Any, None, Probe]]:  # type: ignore[empty-body]
    """Contribute probes: how the health of an upstream is measured.

    :return: one registration for each entry point of the group ``outline_lb.probes`` that names this module
    """


@hookspec
def outline_lb_flow_opened(flow: Flow, upstream: str) -> None:
    """A flow has a stream to its target, or a way for its packets. Those may have several ways one after the other: this is called for each.

    :param flow: which
    :param upstream: the name of the upstream that carries it
    """


@hookspec
def outline_lb_flow_closed(flow: Flow, upstream: str, sent: int, received: int, error: Exception | None) -> None:
    """A flow that was opened is over, or a way for its packets is.

    :param flow: which
    :param upstream: the name of the upstream that carried it
    :param sent: bytes from the application to the target
    :param received: bytes from the target to the application
    :param error: None if both directions ended cleanly
    """


@hookspec
def outline_lb_health_changed(upstream: str, network: Network, up: bool, reason: str) -> None:
    """An upstream went up or down for one kind of traffic.

    :param upstream: its name
    :param network: for streams or for packets
    :param up: whether it is up now
    :param reason: the evidence, for people
    """


@hookspec
def outline_lb_config_reloaded(changes: Sequence[str]) -> None:
    """Another configuration is in force now. A reload that was refused, or that changed nothing, is not told.

    :param changes: what came, went or is different, as JSON pointers into the configuration such as ``/upstreams/server-1``
    """
