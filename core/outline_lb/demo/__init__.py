"""``outline-lb demo``: the main job on one machine, with real servers, real TLS and a real accident."""
