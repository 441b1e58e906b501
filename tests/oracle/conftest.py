"""Say how much the oracle was asked."""

from __future__ import annotations

from collections import Counter

import pytest

compared_by_label: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the combinations of field, value and way that were compared."""
    properties = dict(report.user_properties)
    if report.when == "call" and "combinations" in properties:
        compared_by_label[str(properties["database"])] += int(
            str(properties["combinations"])
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many there were."""
    if compared_by_label:
        each = ", ".join(f"{k} {v:,}" for k, v in sorted(compared_by_label.items()))
        terminalreporter.write_line(
            f"oracle: {compared_by_label.total():,} combinations compared: {each}"
        )
