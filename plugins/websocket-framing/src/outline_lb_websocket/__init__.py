"""WebSocket (RFC 6455) for transports: frames, a stream or messages made of them, and the handshake over HTTP/1.1. No sockets.

* `frames`: opcodes, close codes, what a Close frame says; `parser`: the frames of one direction.
* `decoder`, `message_decoder` and `encoder` turn bytes into payload or messages, and back.
* `stream`: a hop that carries a byte stream in binary messages.
* `packets`: a channel for packets, each a binary message; `pacing`: bursts for servers that cut them; `heartbeat`: Ping and Pong.
* `messages`: a WebSocket as the RFC describes it, with boundaries, types, and its closing handshake.
* `head`, `key`, `client_handshake`, `server_handshake`: the upgrade of an HTTP/1.1 connection.
"""
