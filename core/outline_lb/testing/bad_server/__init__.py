"""A server that does what a script says, right or wrong: for tests of what happens then.

::

    async with BadServer(Tls(context), Upgrade(), Shadowsocks(cipher), Send(b"half of it"), Close(1011)) as server:
        ...                                   # lead a client to server.address
        peer = await server.visit(1)          # its first connection
        await peer.over.wait()
        assert peer.request.startswith("GET /path")

Each connection plays the script from its beginning. `Tls`, `Upgrade` and `Shadowsocks` put a layer upon the connection, which all later steps then
speak through: `Send` writes to the connection, in a WebSocket message, or sealed in a WebSocket message, as it stands. What is wrong on purpose has a
step of its own, or goes past the layers with `Raw` and `Frame`. At the end of the script the server ends the connection properly, and waits for the
client to do the same; `Cut`, `Reset` and `Stall` do otherwise. Any async function that takes a `Peer` is a step too.

Sockets are real, time is the loop's: on a fake clock a byte per second costs nothing.
"""

from __future__ import annotations

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from .peer import Peer, PeerLeftError
from .server import BadServer, Step
from .steps import (
    Close,
    Cut,
    Delay,
    Drip,
    Echo,
    End,
    Flood,
    Frame,
    Raw,
    Read,
    ReadAll,
    Reset,
    Send,
    Shadowsocks,
    Stall,
    Status,
    Tampered,
    Tls,
    Until,
    Upgrade,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "BadServer",
    "Close",
    "Cut",
    "Delay",
    "Drip",
    "Echo",
    "End",
    "Flood",
    "Frame",
    "Peer",
    "PeerLeftError",
    "Raw",
    "Read",
    "ReadAll",
    "Reset",
    "Send",
    "Shadowsocks",
    "Stall",
    "Status",
    "Step",
    "Tampered",
    "Tls",
    "Until",
    "Upgrade",
    "frame",
]
