"""Shadowsocks AEAD (SIP004 and SIP007): the ciphers that Outline servers speak."""
