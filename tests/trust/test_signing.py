"""Many signatures at once: the same as one by one, whatever is shared out."""

import threading

import pytest

from overflowd_tools.trust.keys import SecretKey
from overflowd_tools.trust.signing import SHARE, Signer

KEY = SecretKey.from_seed(bytes(range(32)))


@pytest.mark.parametrize("processors", [1, 2, 3, 64])
def test_signatures_in_order(processors):
    signer = Signer(KEY, processors)
    for count in (0, 1, SHARE - 1, SHARE, SHARE + 1, 2 * SHARE, 5 * SHARE + 3, 1, 2 * SHARE + 1):
        messages = [b"%d" % number for number in range(count)]
        assert signer.sign(messages) == [KEY.sign(message) for message in messages]


def test_threads_are_for_many_messages_alone():
    before = set(threading.enumerate())
    signer = Signer(KEY, 4)
    signer.sign([b""] * SHARE)
    Signer(KEY, 1).sign([b""] * 100 * SHARE)
    assert not set(threading.enumerate()) - before
    signer.sign([b""] * (SHARE + 1))
    assert len(set(threading.enumerate()) - before) == 1
    signer.sign([b""] * 9 * SHARE)
    assert 1 <= len(set(threading.enumerate()) - before) <= 3


def test_without_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    signer = Signer(KEY, 2)
    for _ in range(2):
        assert signer.sign([b"message"] * 4 * SHARE) == [KEY.sign(b"message")] * 4 * SHARE


def test_what_goes_wrong_in_a_thread_is_told():
    with pytest.raises(TypeError):
        Signer(KEY, 2).sign([*[b""] * 2 * SHARE, None])
