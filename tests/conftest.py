"""Options and rules of the whole test suite."""

import os
import re
import signal

import pytest
from harness import Workplace, make_workplace

ALLOWED_IN_CI = re.compile("OF_CORPORA|IPv6|root|namespace|every user may|empty parameter set")
"""What a machine may lack, and a list of crashers that is empty; but the tools that tests compare with are there."""


def pytest_configure():
    """Let signals do what they do: under nohup, or in the background of a script, some are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--rewrite", action="store_true", help="write what the commands do now into tests/golden")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return no_silent_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return no_silent_skip(report)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Workplace:
    """A home with a key and a contact, and good input of every kind."""
    return make_workplace(tmp_path_factory.mktemp("home"))


def no_silent_skip(report):
    """In CI, a test skipped because a tool is missing has failed."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not ALLOWED_IN_CI.search(reason):
            report.outcome = "failed"
            report.longrepr = f"{reason} - and CI must have it"
    return report
