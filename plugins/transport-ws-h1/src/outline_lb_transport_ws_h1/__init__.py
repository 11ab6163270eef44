"""WebSocket over HTTP/1.1: a transport to servers (`transport`), and its accepting half (`listener`)."""
