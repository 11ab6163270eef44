"""Where log lines go and how they look: coloured columns on a terminal, JSON otherwise.

::

    structlog.get_logger(ROOM).info(EVENT, ...)      a level that its room does not show ends here
      └─ Repeats        the same again and again: summed up
           └─ console columns or JSON, one line of bytes
                └─ Writer      a thread of its own: an output that takes nothing stops nobody
"""

from .levels import LEVELS, Levels, parse_levels
from .pipeline import FORMS, Journal

__all__ = ["FORMS", "LEVELS", "Journal", "Levels", "parse_levels"]
