"""Public helpers for the tests of plugins: a fake clock, scripted streams, and a conformance suite for each kind."""
