"""Tests of protocols have few records; they must come in batches all the same."""

import pytest

from overflowd_tools.protocols import simple


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(simple, "PATIENCE", 0)
