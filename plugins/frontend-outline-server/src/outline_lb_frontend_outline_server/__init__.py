"""A Shadowsocks server over any listener: a frontend of outline-lb."""
