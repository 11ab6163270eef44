"""Plain TCP: streams to a host and port, and the half that accepts them."""
