from __future__ import annotations

from importlib.metadata import entry_points

from outline_lb_probe_http import plugin
from outline_lb_probe_http.options import URL
from outline_lb_probe_http.probe import HttpProbe


def test_the_entry_point_leads_to_the_registration() -> None:
    [entry] = entry_points(group="outline_lb.probes", name="http")
    assert entry.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
    [registration] = plugin.outline_lb_probes()
    assert registration.type == "http"
    assert isinstance(registration.build(registration.parse({"url": URL}), None), HttpProbe)
