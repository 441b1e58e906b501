"""Run one way in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.films import configure  # noqa: E402 # needs the path
from tests.support.servers import install_mysql_driver  # noqa: E402


def get_peak_mb() -> float:
    """Return the most memory that this process had at any time."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss would begin with the memory of the process that started this.
        line = next(x for x in status.read_text().splitlines() if "VmHWM" in x)
        return int(line.split()[1]) / 1_000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1_000_000 if sys.platform == "darwin" else 1_000)


def main() -> None:
    """Read the database from stdin, run the way, print the seconds as JSON."""
    install_mysql_driver()
    configure({"default": json.load(sys.stdin)})
    from benchmarks import shapes, ways

    way, *shape = sys.argv[1:]
    seconds = shapes.run(way, *shape) if shape else ways.WAYS[way]()
    peak_mb = get_peak_mb()
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
