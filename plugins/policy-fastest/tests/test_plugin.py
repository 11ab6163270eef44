from __future__ import annotations

from importlib.metadata import entry_points

from outline_lb_policy_fastest import plugin
from outline_lb_policy_fastest.options import Options
from outline_lb_policy_fastest.policy import FastestPolicy


def test_the_entry_point_leads_to_the_registration() -> None:
    [entry] = entry_points(group="outline_lb.policies", name="fastest")
    assert entry.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
    [registration] = plugin.outline_lb_policies()
    assert registration.type == "fastest"
    assert isinstance(registration.build(Options(), None), FastestPolicy)
