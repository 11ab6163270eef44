"""Watches: measures the upstreams on a schedule and feeds what it finds to their health."""
