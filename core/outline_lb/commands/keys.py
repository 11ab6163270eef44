"""``outline-lb keys``: what the users of a server need. It prints secrets, and nothing else of the program does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..base.address import Address
from ..base.errors import AddressError, ConfigError, Problem
from .common import add_config, add_settings, find_config, overrides, run_async

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..datapath.access import AccessKey
    from .common import Commands


def add(commands: Commands) -> None:
    """Describe the command."""
    description = (
        "Print the access key of each user of each listener, for Outline's apps and other Shadowsocks clients, and as an upstream of outline-lb. "
        "The output holds the secrets. Nothing is started."
    )
    parser = commands.add_parser("keys", help="print the access keys of a server's users", description=description)
    add_config(parser)
    parser.add_argument("--host", metavar="HOST", type=_host, required=True, help="name or IP address by which clients reach this machine")
    parser.add_argument(
        "--tls-port",
        metavar="PORT",
        type=_port,
        help="a web server in front speaks TLS for the WebSocket listeners without it: clients reach them at this port, such as 443",
    )
    parser.add_argument("--user", metavar="NAME", help="only the keys of this user")
    add_settings(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Print them."""
    from ..config.access_keys import for_apps, for_upstream
    from ..config.load import load

    settings, _ = load(options.config or find_config(), options.plugins, overrides(options))
    keys = run_async(partial(_access_keys, settings, options.host))
    chosen = [(frontend, key) for frontend, some in keys.items() for key in some if options.user in {None, key.user}]
    if not chosen:
        whose = f" of a user {options.user}" if options.user else ""
        raise ConfigError(Problem(f"there are no keys{whose}: name users under the keys of a frontend such as outline-server"))
    for frontend, inner in chosen:
        key = _behind(inner, options.tls_port)
        print(f"# {key.user} at {key.url}, of the frontend {frontend}\n{for_apps(key)}# As an upstream of outline-lb:")
        print(f"#   {for_upstream(key, frontend)}", flush=True)
    return 0


async def _access_keys(settings: Settings, host: str) -> dict[str, Sequence[AccessKey]]:
    """Ask each frontend. They are made as for a run, and nothing is begun with them.

    :raises ConfigError: if one listens on a port that nobody knows
    """
    import anyio

    from ..datapath.balancer import FlowListeners
    from ..datapath.carrier import Carrier
    from ..running.parts import Builder, Parts
    from ..running.sockets import ListeningSockets

    async with anyio.create_task_group() as tasks:
        builder = Builder(Parts(), Carrier(tasks), FlowListeners(), lambda *_: None)
        parts = builder.build(settings, ListeningSockets().hand_over(()))
        keys = {name: part.frontend.access_keys(host) for name, part in parts.frontends.items()}
    for name, some in keys.items():
        if any(key.url.address.port == 0 for key in some):
            raise ConfigError(Problem("listens on any free port, so nobody can say which: write a port", f"/frontends/{name}/listen"))
    return keys


def _behind(key: AccessKey, tls_port: int | None) -> AccessKey:
    from dataclasses import replace

    from ..base.secret import SecretUrl

    def behind(url: SecretUrl) -> SecretUrl:
        return SecretUrl(f"wss://{Address.of(url.address.host, tls_port or 0)}{url.reveal_target()}")

    if tls_port is None or key.url.scheme != "ws":
        return key
    return replace(key, url=behind(key.url), packet_url=key.packet_url and behind(key.packet_url))


def _host(text: str) -> str:
    try:
        return Address.of(text.removeprefix("[").removesuffix("]"), 0).host
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    try:
        return Address.parse(f"host:{text}").port
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
