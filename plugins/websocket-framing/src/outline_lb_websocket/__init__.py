"""WebSocket (RFC 6455) for transports: frames, a stream made of them, and the handshake over HTTP/1.1. No sockets.

* `frames`: opcodes, close codes, what a Close frame says; `decoder` and `encoder` turn bytes into payload and back.
* `stream`: a hop that carries a byte stream in binary messages.
* `head`, `key`, `client_handshake`, `server_handshake`: the upgrade of an HTTP/1.1 connection.
"""
