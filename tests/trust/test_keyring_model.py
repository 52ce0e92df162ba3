"""Keyrings against a model of a few lines, through restarts, lost indexes and a second process's eyes."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from trust.rings import KEYS, NOW, Small, judge, known, ring, sighting

from overflowd_tools.trust.keyring import Limits

REPORTS = st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(1, 2), st.sampled_from([b"", b"x"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("judge"), st.lists(REPORTS, max_size=6), st.sampled_from(["unknown", "known"])),
        st.tuples(st.just("decide"), st.integers(0, 2), st.sampled_from(["trusted", "distrusted"])),
        st.tuples(st.sampled_from(["restart", "lose the index", "check", "switch"])),
    ),
    max_size=20,
)


class Model:
    """What a keyring without bounds says."""

    def __init__(self) -> None:
        self._first: dict = {}
        self._passed: set = set()
        self._decisions: dict = {}

    def decide(self, key: int, decision: str) -> None:
        self._decisions[key] = decision

    def judge(self, report: tuple, required: str) -> str | None:
        key, number, body = report[0], report[:3], report[3]
        decision = self._decisions.get(key)
        if decision == "distrusted":
            return "distrusted key"
        held = "unknown key, where one that is known is asked for" if required == "known" and not decision else None
        if self._first.setdefault(number, body) != body:
            self._decisions[key] = "distrusted"
            return "equivocation"
        if number in self._passed:
            return "duplicate"
        if not held:
            self._passed.add(number)
        return held


def made(report: tuple):
    key, seq, epoch, body = report
    return sighting(key=key, seq=seq, epoch=epoch, body=body)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_keyring_does_as_the_model(steps):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ring"
        model, told = Model(), []
        first, second = ring(path, told), ring(path, told)
        keyring, other = first.__enter__(), second.__enter__()
        for step in steps:
            match step:
                case "judge", reports, required:
                    expected = [model.judge(report, required) for report in reports]
                    assert judge(keyring, *map(made, reports), required=required) == expected
                case "decide", key, decision:
                    model.decide(key, decision)
                    with keyring.update(NOW) as update:
                        update.decide(KEYS[key], decision)
                case ("restart",):
                    first.__exit__(None, None, None)
                    first = ring(path, told)
                    keyring = first.__enter__()
                case ("lose the index",):
                    known(keyring)
                    os.unlink(f"{path}.index")
                case ("check",):
                    before = known(keyring)
                    keyring.check()
                    assert known(keyring) == before
                case ("switch",):
                    keyring, other = other, keyring
                    first, second = second, first
        assert known(keyring) == known(other)
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert told == []


class Tiny(Small):
    """Limits that everything hits all the time."""

    keys = 2
    window = 6
    window_of_key = 4
    recipients_of_key = 1
    log = 1000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REPORTS, max_size=5), max_size=20), st.sampled_from([Tiny, Small, Limits]))
def test_whatever_is_forgotten_no_key_that_is_kept_has_a_report_pass_twice(batches, limits):
    with tempfile.TemporaryDirectory() as folder, ring(Path(folder) / "ring", limits=limits) as keyring:
        with keyring.update(NOW) as update:
            for key in range(3):
                update.note(KEYS[key], "kept")
        passed = set()
        for number, batch in enumerate(batches):
            for report, reason in zip(batch, judge(keyring, *map(made, batch)), strict=True):
                if reason is None:
                    assert report not in passed
                    passed.add(report)
            if number % 4 == 3:
                keyring.check()
        judge(keyring, sighting(key=2, seq=9))  # an index that was made again is as large as the log until now
        with keyring.reading() as index:
            assert index.remembered() == len(list(index.entries())) <= limits.window
