"""Every input that ever failed, and a short burst of the fuzzing that `make fuzz` does at length."""

import random
from itertools import islice

import pytest
import run

CRASHERS = sorted(run.CRASHES.glob("*.bin"))


@pytest.mark.parametrize("path", CRASHERS, ids=lambda path: path.stem)
def test_inputs_that_failed_once(path):
    target = run.load(path.stem.rsplit("-", 1)[0])
    target.one_input(path.read_bytes())


@pytest.mark.parametrize("name", run.target_names())
def test_burst(name):
    target = run.load(name)
    seeds = list(target.seeds())
    assert seeds
    for data in islice(run.inputs(random.Random(0), seeds), 2000):
        target.one_input(data)


def test_a_failing_input_is_kept_and_told(tmp_path, monkeypatch, capsys):
    class Broken:
        @staticmethod
        def seeds():
            return [b"good", b"bad"]

        @staticmethod
        def one_input(data):
            assert data == b"good"

    monkeypatch.setattr(run, "CRASHES", tmp_path / "crash")
    monkeypatch.setattr(run, "load", lambda name: Broken)
    assert run.run("broken", 60, random.Random(0)) is False
    (kept,) = (tmp_path / "crash").iterdir()
    assert kept.name.startswith("broken-")
    assert kept.read_bytes() == b"bad"
    said = capsys.readouterr().out
    assert f"broken: failed after 1 inputs, kept as {kept}" in said
    assert "AssertionError" in said
