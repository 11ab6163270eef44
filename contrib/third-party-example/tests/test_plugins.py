from __future__ import annotations

import asyncio
from importlib.metadata import entry_points

import pytest
from outline_lb_example import observer_plugin, policy_plugin
from outline_lb_example.meter import Meter, Totals
from outline_lb_example.options import Options
from outline_lb_example.policy import CheapestPolicy

from outline_lb.testing.candidates import fake_flow


def test_entry_points_lead_to_the_plugins() -> None:
    [policy] = entry_points(group="outline_lb.policies", name="cheapest")
    [observer] = entry_points(group="outline_lb.observers", name="meter")
    assert (policy.load(), observer.load()) == (policy_plugin, observer_plugin)
    assert policy_plugin.OUTLINE_LB_API == observer_plugin.OUTLINE_LB_API == 1


def test_the_policy_is_registered_under_the_name_of_its_entry_point() -> None:
    [registration] = policy_plugin.outline_lb_policies()
    assert registration.type == "cheapest"
    assert isinstance(registration.build(Options(), None), CheapestPolicy)


@pytest.mark.fake_clock
async def test_a_flow_is_counted_with_the_time_since_it_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_plugin, "_meter", meter := Meter(None))
    flow = fake_flow(started=asyncio.get_running_loop().time())
    await asyncio.sleep(2.5)  # no time at all: the clock is a fake one
    observer_plugin.outline_lb_flow_closed(flow, "a", 1, 10)
    assert meter.totals == {"a": Totals(1, 1, 10, 2.5)}
