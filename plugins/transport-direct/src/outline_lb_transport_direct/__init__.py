"""No server at all: flows and packets go straight to their targets, from an address of choice."""
