"""outline-lb: a pluggable, load-balancing transport framework."""

__version__ = "0.1.0"
