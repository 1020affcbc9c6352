"""How much processor time each test takes; `pytest --cpu-budget` fails where it is too much.

Processor time, of the test and of the processes that it has waited for: by the clock, good tests
would fail on a busy machine. What a fixture of many tests takes is counted to the first of them.
"""

import os
from collections import Counter
from collections.abc import Generator
from typing import Final

import pytest

# Twice what is meant: a rented machine, whose memory is slow for some minutes and then is not, took
# 3,915 seconds for nearly the same tests that took 2,461 at another time.
QUICK_S: Final = 40.0  # the most that a test without the mark `slow` may take
SLOW_S: Final = 300.0  # ... and one with it
ALL_S: Final = 4800.0  # ... and all together: half of it is 20 of CI's 30 minutes on two cores
SHOWN: Final = 10

_begun: Final = pytest.StashKey[float]()


def processor_seconds() -> float:
    """Return what this process has used so far, and its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_begun] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the seconds of setup, call or teardown into its report, which xdist hands on."""
    report = yield
    now = processor_seconds()
    report.cpu_seconds = now - item.stash[_begun]
    item.stash[_begun] = now
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-budget", action="store_true", help="fail where tests take too much processor time"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cpu_budget") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Budget())


class Budget:
    """Adds up the reports of all tests, in the one process that all reports reach."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.slow: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.taken[report.nodeid] += report.cpu_seconds
        if "slow" in report.keywords:
            self.slow.add(report.nodeid)

    @property
    def complaints(self) -> list[str]:
        """What takes too much, in one line each."""
        most = {name: SLOW_S if name in self.slow else QUICK_S for name in self.taken}
        lines = [
            f"{name} takes {taken:.0f} s of a processor: at most {most[name]:.0f} s "
            + ("with the mark slow" if name in self.slow else "without the mark slow")
            for name, taken in self.taken.most_common()
            if taken > most[name]
        ]
        if self.taken.total() > ALL_S:
            lines.append(f"all tests take {self.taken.total():.0f} s: at most {ALL_S:.0f} s")
        return lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"processor time: {self.taken.total():.0f} s")
        for name, taken in self.taken.most_common(SHOWN):
            terminalreporter.write_line(f"{taken:6.1f} s  {name}")
        for line in self.complaints:
            terminalreporter.write_line(line, red=True)
