"""Output that holds reports back: all lines in order, in groups of the right size, and nothing kept too long."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.holding import HELD_OCTETS, HoldingOutput
from overflowd_tools.stream import StopSignals


@pytest.fixture(scope="module")
def stop():
    return StopSignals()


class Signed(list):
    """Makes lines of reports with an exclamation mark, and puts the size of each group down."""

    def __call__(self, bodies):
        self.append(len(bodies))
        return [body + b"!" for body in bodies]


class Source:
    """An input of which nothing but its descriptor is known."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def fileno(self):
        return self._descriptor


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@given(
    st.lists(
        st.lists(st.sampled_from([b"a", b"bb"]), min_size=1, max_size=2) | st.just(b"other") | st.none(), max_size=40
    ),
    st.integers(2, 6),
)
def test_every_line_in_its_place(stop, steps, most):
    """Lists are the reports on one flow, None is a read that would block."""
    groups, expected = Signed(), []

    class Output(HoldingOutput):
        shown = b""

        def write(self, data):
            self.shown += data

    output = Output(groups, most, stop)
    for step in steps:
        if step is None:
            output.flush()
            assert output.shown.splitlines() == expected
        elif isinstance(step, bytes):
            output.pass_on(step)
            expected.append(step)
        else:
            output.hold(step)
            expected += [body + b"!" for body in step]
    output.sign()
    output.sign()
    assert output.shown == b"".join(line + b"\n" for line in expected)
    assert all(0 < size <= most for size in groups)


def test_a_flow_is_not_split(stop):
    groups = Signed()
    output = HoldingOutput(groups, 3, stop)
    for _ in range(3):
        output.hold([b"a", b"b"])
    output.hold([b"c"])
    assert groups == [2, 2, 3]


def test_lines_that_go_through_are_not_kept_without_end(stop):
    groups = Signed()
    output = HoldingOutput(groups, 100, stop)
    output.hold([b"a"])
    for _ in range(2):
        output.pass_on(bytes(HELD_OCTETS // 2))
    assert groups == []
    output.pass_on(b"x")
    assert groups == [1]


def test_flushed_at_once(stop, capfdbinary):
    groups = Signed()
    output = HoldingOutput(groups, 100, stop)
    output.hold([b"a"])
    output.pass_on(b"other")
    output.flush()
    assert capfdbinary.readouterr().out == b"a!\nother\n"
    output.flush()
    assert groups == [1]


def test_flushed_when_the_time_is_over(stop, pipe, capfdbinary):
    """What was there before goes out without waiting."""
    output = HoldingOutput(Signed(), 2, stop, 0.2)
    output.source = Source(pipe[0])
    output.hold([b"a", b"b"])
    output.hold([b"c"])
    started = time.monotonic()
    output.flush()
    assert time.monotonic() - started >= 0.1
    assert capfdbinary.readouterr().out == b"a!\nb!\nc!\n"


def test_more_input_ends_the_wait(stop, pipe, capfdbinary):
    output = HoldingOutput(Signed(), 2, stop, 60)
    output.source = Source(pipe[0])
    output.hold([b"a"])
    os.write(pipe[1], b"x")
    output.flush()
    assert capfdbinary.readouterr().out == b""
    output.hold([b"b"])
    output.flush()
    assert capfdbinary.readouterr().out == b"a!\nb!\n"


def test_a_stop_signal_ends_the_wait(pipe):
    stop, groups = StopSignals(), Signed()
    stop._handle(15, None)
    output = HoldingOutput(groups, 2, stop, 60)
    output.source = Source(pipe[0])
    output.hold([b"a"])
    output.flush()
    assert groups == []
    output.sign()
    assert groups == [1]


def test_what_is_overdue_is_signed_while_lines_come(stop):
    for step in (lambda output: output.hold([b"b"]), lambda output: output.pass_on(b"other")):
        groups = Signed()
        output = HoldingOutput(groups, 100, stop, 0.001)
        output.hold([b"a"])
        time.sleep(0.01)
        step(output)
        assert groups in ([2], [1])
