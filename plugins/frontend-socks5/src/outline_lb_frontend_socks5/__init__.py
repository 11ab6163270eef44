"""SOCKS5 for applications: a frontend of outline-lb."""
