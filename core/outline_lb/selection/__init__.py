"""Decides which upstream: pure, the time is passed in, no sockets."""
