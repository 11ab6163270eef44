"""WebSocket frames, from a client and from a server, compared with an implementation of others."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from fuzz.harness import Target, kept, refusal, same_however_split, splits
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode

from outline_lb_websocket.decoder import FrameDecoder
from outline_lb_websocket.frames import FrameError
from outline_lb_websocket.message_decoder import Message, MessageDecoder

MAX_MESSAGES = (10, 125, 70_000, 1024 * 1024)
MOST_KEPT = 14 + 125 + 4
"""Bytes of a control frame that is not complete, and a mask."""


@dataclass
class Outcome:
    """What a decoder made of some bytes."""

    payload: bytes = b""
    pings: list[bytes] = field(default_factory=list)
    close: object = None
    complete: bool = True
    error: str = ""

    def fits(self, other: Outcome) -> bool:
        """Tell whether both are the same; where the peer broke the protocol, one may have handed out more of what came before."""
        if self.error or other.error:
            same_begin = self.payload.startswith(other.payload) or other.payload.startswith(self.payload)
            return self.error == other.error and same_begin
        return self == other


def frames(data: bytes) -> None:
    """Decode frames. The first byte says whether they are masked and how long a message may be; the others are the peer's."""
    if not data:
        return
    masked, max_message = bool(data[0] & 1), MAX_MESSAGES[data[0] >> 1 & 3]
    leftover = bool(data[0] & 8)
    outcomes = [_decode(pieces, masked, max_message, leftover) for pieces in splits(data[1:])]
    first = outcomes[0]
    for other in outcomes[1:]:
        assert first.fits(other), f"split in another way, the same bytes give {other!r} and not {first!r}"
    if not first.error:
        payload, pings, left = _decode_as_others_do(data[1:], masked)
        assert first.pings == pings
        assert first.payload.startswith(payload)
        assert len(first.payload) - len(payload) <= left, "more payload than bytes that could hold it"


def _decode(pieces: Sequence[bytes], masked: bool, max_message: int, leftover: bool) -> Outcome:
    if leftover and pieces:  # the first piece came behind the handshake
        decoder = FrameDecoder(masked, pieces[0], max_message)
        pieces = [b"", *pieces[1:]]
    else:
        decoder = FrameDecoder(masked, max_message=max_message)
    outcome = Outcome()
    for piece in pieces:
        try:
            found = decoder.feed(piece)
        except FrameError as error:
            outcome.error = f"{refusal(error)} {error.code}"
            return outcome
        assert all(found), "an empty piece"
        outcome.payload += b"".join(found)
        outcome.pings += decoder.pings
        decoder.pings.clear()
        if decoder.close is None:
            assert kept(decoder) <= MOST_KEPT, f"{kept(decoder)} bytes are kept"
    outcome.close, outcome.complete = decoder.close, decoder.complete
    return outcome


def _decode_as_others_do(data: bytes, masked: bool) -> tuple[bytes, list[bytes], int]:
    """Return the payload of the complete frames, and of the Pings among them, up to a Close; and how many bytes are behind them."""
    payload, left = b"", len(data)
    pings: list[bytes] = []
    for frame in _frames_of_others(data, masked):
        left -= len(frame.data)
        if frame.opcode is Opcode.CLOSE:
            return payload, pings, 0
        if frame.opcode is Opcode.PING:
            pings.append(bytes(frame.data))
        elif frame.opcode is not Opcode.PONG:
            payload += frame.data
    return payload, pings, left


def _frames_of_others(data: bytes, masked: bool) -> Iterator[Frame]:
    """Yield the complete frames, up to a mistake."""
    position = 0

    def read_exact(size: int) -> Generator[None, None, bytes]:
        nonlocal position
        yield from ()
        start, position = position, position + size
        if position > len(data):
            raise EOFError
        return data[start:position]

    while True:
        try:
            yield _returned(Frame.parse(read_exact, mask=masked))
        except (EOFError, ProtocolError):  # it looks at the first bytes before the header is complete
            return


def _returned(generator: Generator[None, None, Frame]) -> Frame:
    try:
        next(generator)
    except StopIteration as end:
        frame: Frame = end.value
        return frame
    raise AssertionError("the generator waits for something")


def messages(data: bytes) -> None:
    """Decode messages. The first byte as in `frames`; here what came before a mistake counts, however it was split."""
    if not data:
        return
    masked, max_message = bool(data[0] & 1), MAX_MESSAGES[data[0] >> 1 & 3]
    found, pings, close, error = same_however_split(data[1:], lambda pieces: _decode_messages(pieces, masked, max_message))
    for message in found:
        assert len(message.data) <= max_message
        if message.text:
            message.data.decode()
    theirs, their_pings = _join_as_others_do(data[1:], masked)
    assert found == theirs[: len(found)]
    assert pings == their_pings[: len(pings)]
    if close is None and not error:
        assert (found, pings) == (theirs, their_pings)


def _decode_messages(pieces: Sequence[bytes], masked: bool, max_message: int) -> tuple[list[Message], list[bytes], object, str]:
    decoder = MessageDecoder(masked, max_message=max_message)
    found: list[Message] = []
    pings: list[bytes] = []
    for piece in pieces:
        found += decoder.feed(piece)
        pings += decoder.pings
        decoder.pings.clear()
        if decoder.close is None and decoder.error is None:
            assert kept(decoder) <= MOST_KEPT + max_message
    error = decoder.error
    return found, pings, decoder.close, "" if error is None else f"{refusal(error)} {error.code}"


def _join_as_others_do(data: bytes, masked: bool) -> tuple[list[Message], list[bytes]]:
    """Return the messages and Pings that are complete, up to a Close or a mistake."""
    done: list[Message] = []
    pings: list[bytes] = []
    begun, text = b"", False
    for frame in _frames_of_others(data, masked):
        if frame.opcode is Opcode.CLOSE:
            break
        if frame.opcode is Opcode.PING:
            pings.append(bytes(frame.data))
        elif frame.opcode is not Opcode.PONG:
            begun += frame.data
            text = frame.opcode is Opcode.TEXT or (text and frame.opcode is Opcode.CONT)
            if frame.fin:
                done.append(Message(begun, text))
                begun = b""
    return done, pings


TARGETS = [Target("websocket", frames), Target("websocket-messages", messages)]
