"""The probe ``handshake``: opens a connection to the server, and measures how long that takes."""
