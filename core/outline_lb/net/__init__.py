"""The floor: sockets, TLS and names. Nothing above touches a socket."""
