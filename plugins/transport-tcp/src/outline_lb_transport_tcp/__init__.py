"""Plain TCP and UDP: streams and packets to a host and port, and the half that accepts them."""
