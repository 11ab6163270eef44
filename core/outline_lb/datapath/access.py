"""What a user has to know to come in."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.secret import Secret, SecretUrl


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The access of one user by one listener.

    :param user: name
    :param url: where the listener is reached
    :param cipher: name of what the user's client encrypts with
    :param secret: what it encrypts from
    :param packet_url: where the listener is reached with packets; None: nowhere
    """

    user: str
    url: SecretUrl
    cipher: str
    secret: Secret
    packet_url: SecretUrl | None = None
