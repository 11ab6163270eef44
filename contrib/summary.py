"""Say on one screen which tests ran, and which were skipped and why, from the reports that `nox` leaves in build/reports."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

REPORTS = Path(__file__).resolve().parent.parent / "build" / "reports"


def main() -> int:
    """Print the summary. Return 1 if no test ran: that is no success."""
    passed = failed = skipped = 0
    reasons: Counter[str] = Counter()
    for report in sorted(REPORTS.glob("*.xml")):
        suite = ElementTree.parse(report).getroot()[0]
        count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        bad = count["failures"] + count["errors"]
        good = count["tests"] - bad - count["skipped"]
        print(f"{report.stem:12} {good:5} passed {bad:5} failed {count['skipped']:5} skipped {float(suite.get('time', 0)):7.1f} s")
        passed, failed, skipped = passed + good, failed + bad, skipped + count["skipped"]
        reasons.update(f"{report.stem}: {skip.get('message')}" for skip in suite.iter("skipped"))
    print("\nSkipped:" if reasons else "\nNothing was skipped.")
    for reason, times in sorted(reasons.items()):
        print(f"  {times} x {reason}")
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
