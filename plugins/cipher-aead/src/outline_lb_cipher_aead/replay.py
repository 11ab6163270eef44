"""The memory of a server for streams that it has had before."""

from __future__ import annotations


class ReplayCache:
    """Remembers the last `capacity` salts, and up to as many before them.

    Two generations: when the young one is full it becomes the old one, which is forgotten. What is kept is Python's hash of a salt: 64 bits with
    a key of this process, so that nobody can aim at a clash.

    :param capacity: salts in one generation; 0: nothing is remembered
    """

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: set[int] = set()
        self._old: set[int] = set()

    def add(self, salt: bytes) -> bool:
        """Remember a salt, and tell whether it is new."""
        if not self._capacity:
            return True
        mark = hash(salt)
        if mark in self._young or mark in self._old:
            return False
        if len(self._young) >= self._capacity:
            self._young, self._old = set(), self._young
        self._young.add(mark)
        return True
