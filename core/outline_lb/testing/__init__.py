"""Public helpers for the tests of plugins: a fake clock, scripted streams and channels for packets, and a conformance suite for each kind."""
