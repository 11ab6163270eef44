"""From installed distributions to an immutable catalog.

stevedore brings code in by name, pluggy lets it speak, the catalog remembers, and the data path knows none of them.
"""
