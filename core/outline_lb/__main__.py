"""``python -m outline_lb`` is ``outline-lb``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
