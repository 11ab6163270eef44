"""The policy ``fastest``: the upstream with the lowest latency, and staying with it for a while."""
