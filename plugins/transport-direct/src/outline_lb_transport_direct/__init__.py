"""No server at all: flows go straight to their targets, from an address of choice."""
