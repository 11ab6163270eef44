from __future__ import annotations

from structlog.testing import capture_logs

from outline_lb.base.drops import Drops


def test_the_first_of_each_reason_is_told_with_where_that_was() -> None:
    drops = Drops(upstream="one")
    with capture_logs() as log:
        for reason in ("no room", "too large", "no room", "too large", "no room"):
            drops.count(reason)
    assert log == [
        {"event": "packets dropped", "log_level": "info", "reason": "no room", "upstream": "one"},
        {"event": "packets dropped", "log_level": "info", "reason": "too large", "upstream": "one"},
    ]


def test_all_are_counted() -> None:
    drops = Drops()
    drops.count("no room")
    drops.count("no room", 3)
    drops.count("too large", 2)
    assert drops.counts == {"no room": 4, "too large": 2}


def test_each_place_tells_for_itself() -> None:
    with capture_logs() as log:
        for place in (1, 2):
            Drops(place=place).count("no room")
    assert [line["place"] for line in log] == [1, 2]


def test_what_a_user_can_do_about_it_is_a_warning_that_says_so() -> None:
    drops = Drops()
    with capture_logs() as log:
        drops.count("too large", mend="make them smaller")
        drops.count("too large", mend="make them smaller")
    assert [(line["log_level"], line["mend"]) for line in log] == [("warning", "make them smaller")]
