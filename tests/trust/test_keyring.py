"""Keyrings: what is a replay, what proves a lie, what is forgotten, and that the log alone is enough."""

import itertools
import json
import os

import pytest
from trust.rings import HOUR, KEYS, NOW, Small, judge, known, record, ring, sighting

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.index import Cache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ring"


# --- replays


def test_a_report_passes_once(path):
    with ring(path) as keyring:
        assert judge(keyring, sighting(), sighting()) == [None, "duplicate"]
        assert judge(keyring, sighting(), sighting(seq=2)) == ["duplicate", None]
    with ring(path) as keyring:
        assert judge(keyring, sighting(), sighting(seq=2), sighting(seq=3)) == ["duplicate", "duplicate", None]
        assert record(keyring).reports == 3


def test_numbers_are_of_a_key_an_epoch_and_a_recipient(path):
    with ring(path) as keyring:
        four = [sighting(), sighting(key=1), sighting(epoch=8), sighting(to="192.0.2.2")]
        assert judge(keyring, *four, *four) == [None] * 4 + ["duplicate"] * 4


def test_reports_without_numbers_are_told_by_what_they_say(path):
    with ring(path) as keyring:
        one, two = sighting(seq=0, body=b"one", expires_ms=None), sighting(seq=0, body=b"two", expires_ms=None)
        assert judge(keyring, one, two, one) == [None, None, "duplicate"]
        assert judge(keyring, sighting(key=1, seq=0, body=b"one")) == [None]
        assert record(keyring).missing == 0


def test_what_expired_is_forgotten_by_the_time_of_genuine_reports(path):
    """A clock that is ahead lets no replay pass: it is what fresh reports say that makes others old."""
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1), sighting(seq=2))
        judge(keyring, sighting(seq=3), now=NOW + 1000 * HOUR)
        assert record(keyring).remembered == 3
        late = NOW + 3 * HOUR
        judge(keyring, sighting(key=1, time_ms=late), now=late)
        assert (record(keyring).remembered, record(keyring, 1).remembered) == (0, 1)


def test_a_report_that_was_held_back_may_pass_later(path):
    with ring(path) as keyring:
        assert judge(keyring, sighting(), required="known") == ["unknown key, where one that is known is asked for"]
        assert judge(keyring, sighting(), required="known") == ["unknown key, where one that is known is asked for"]
        with keyring.update(NOW) as update:
            update.decide(KEYS[0], "trusted")
        assert judge(keyring, sighting(), sighting(), required="known") == [None, "duplicate"]
        assert record(keyring).reports == 1
        before = known(keyring)
        keyring.check()
        assert known(keyring) == before
        assert judge(keyring, sighting(), required="known") == ["duplicate"]


def test_what_is_not_to_be_entered_is_only_judged(path):
    with ring(path) as keyring:
        assert judge(keyring, sighting(), sighting(), enter=False) == [None, None]
        assert known(keyring)["records"] == []


@pytest.mark.parametrize(
    ("decision", "reason"), [("distrusted", "distrusted key"), ("trusted", None), ("pinned", None)]
)
def test_the_word_of_the_operator(path, decision, reason):
    with ring(path) as keyring:
        with keyring.update(NOW) as update:
            update.decide(KEYS[0], decision, "Example Net")
            update.note(KEYS[0], "from the phone")
        assert judge(keyring, sighting(), required="known") == [reason]
    with ring(path) as keyring:
        found = record(keyring)
        assert (found.name, found.note, found.reports) == ("Example Net", "from the phone", int(not reason))


# --- what proves something about a key


def test_two_reports_with_one_number_are_kept_and_end_trust(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1))
        assert judge(keyring, sighting(seq=2), sighting(seq=2, body=b"x")) == [None, "equivocation"]
        assert judge(keyring, sighting(seq=3)) == ["distrusted key"]
        with keyring.reading() as index:
            evidence = json.loads(index.statements(KEYS[0].raw)["evidence"])
        assert evidence == {
            "$schema": "overflowd-evidence/1",
            "reports": [{"seq": 2, "body": ""}, {"seq": 2, "body": "x"}],
        }
        assert record(keyring).proofs == 1


def test_evidence_from_the_log_and_over_a_restart(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1))
    with ring(path) as keyring:
        assert judge(keyring, sighting(seq=1, body=b"x")) == ["equivocation"]
        with keyring.update(NOW) as update:
            update.decide(KEYS[0], "pinned")
        assert judge(keyring, sighting(seq=1, body=b"y")) == ["equivocation"]
        assert (record(keyring).proofs, record(keyring).state) == (2, "distrusted")


def test_nobody_is_accused_without_both_reports(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1))
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"report":{"seq":1', b'"report":{"seq":1'[::-1]))
        assert judge(keyring, sighting(seq=1, body=b"x")) == ["contradiction"]
        assert (record(keyring).proofs, record(keyring).contradictions) == (0, 1)
        assert record(keyring).state == "unknown"


def test_evidence_of_others_counts_once(path):
    with ring(path) as keyring:
        for _ in range(2):
            with keyring.update(NOW) as update:
                update.prove(KEYS[0], b'{"a":1}', b'{"a":2}')
        assert (record(keyring).proofs, record(keyring).state, record(keyring).kept) == (1, "distrusted", 1)


def test_gaps_in_the_numbers_are_counted(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=4), sighting(seq=9))
        assert record(keyring).missing == 4
        with keyring.update(NOW) as update:
            assert update.numbers_of(sighting(seq=4)).missing == 4
        judge(keyring, sighting(seq=5), sighting(seq=2**53 - 1, to="192.0.2.2"))
        assert record(keyring).missing == 3
        judge(keyring, sighting(seq=1, to="192.0.2.2"))
        assert record(keyring).missing == 2**53 - 1


def test_totals_that_go_back_are_contradictions(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=2, packets=20, octets=200), sighting(seq=4, packets=40, octets=400))
        judge(
            keyring,
            sighting(seq=3, packets=30, octets=300),
            sighting(seq=5),
            sighting(seq=1, to="192.0.2.2", packets=1),
        )
        assert record(keyring).contradictions == 0
        judge(keyring, sighting(seq=7, packets=70, octets=700))
        judge(keyring, sighting(seq=8, packets=69, octets=700), sighting(seq=9, packets=90, octets=600))
        judge(keyring, sighting(seq=6, packets=91, octets=10))
        assert (record(keyring).contradictions, record(keyring).state) == (3, "unknown")
        before = known(keyring)
        keyring.check()
        assert known(keyring) == before


def test_our_own_records_speak(path):
    with ring(path) as keyring:
        judge(keyring, sighting(seq=1, confirmed=b"12345678"), sighting(seq=2, contradicted=True), sighting(seq=3))
        found = record(keyring)
        assert (found.corroborated, found.contradictions, found.state) == (1, 1, "seen")
        before = known(keyring)
        keyring.check()
        assert known(keyring) == before


# --- statements


ANNOUNCED = {"time_ms": 5, "recovery": KEYS[9].text, "expires_ms": NOW + HOUR}


def act(keyring, action, *arguments):
    with keyring.update(NOW) as update:
        getattr(update, action)(*arguments)


def test_announcements(path):
    with ring(path) as keyring:
        act(keyring, "announce", KEYS[0], ANNOUNCED)
        act(keyring, "announce", KEYS[0], {**ANNOUNCED, "expires_ms": 1})
        assert (record(keyring).expires_ms, record(keyring).recovery) == (NOW + HOUR, KEYS[9].text)
        with pytest.raises(KeyFileError, match="another recovery key"):
            act(keyring, "announce", KEYS[0], {**ANNOUNCED, "time_ms": 6, "recovery": KEYS[8].text})
        act(keyring, "announce", KEYS[0], {**ANNOUNCED, "time_ms": 6, "expires_ms": NOW})
        assert judge(keyring, sighting(time_ms=NOW)) == ["expired key"]


def test_rotations(path):
    rotation = {"time_ms": NOW, "until_ms": NOW + HOUR}
    with ring(path) as keyring:
        act(keyring, "decide", KEYS[0], "pinned", "Example Net")
        act(keyring, "rotate", KEYS[0], KEYS[1], rotation)
        act(keyring, "rotate", KEYS[0], KEYS[1], rotation)
        assert (record(keyring, 1).state, record(keyring, 1).name) == ("pinned", "Example Net")
        late = sighting(time_ms=NOW + HOUR)
        assert judge(keyring, sighting(), late, sighting(key=1)) == [None, "replaced key", None]
        for old, new, reason in ((0, 2, "another successor"), (1, 0, "predecessor"), (2, 1, "predecessor")):
            with pytest.raises(KeyFileError, match=reason):
                act(keyring, "rotate", KEYS[old], KEYS[new], rotation)
        with keyring.reading() as index:
            assert set(index.statements(KEYS[0].raw)) == {"rotation"}
            assert set(index.statements(KEYS[1].raw)) == {"origin"}


def test_a_revocation_reaches_successors_that_a_thief_could_have_named(path):
    with ring(path) as keyring:
        act(keyring, "decide", KEYS[0], "pinned", "Example Net")
        for old, time_ms in ((0, NOW), (1, NOW + 5), (2, NOW + 9)):
            act(keyring, "rotate", KEYS[old], KEYS[old + 1], {"time_ms": time_ms, "until_ms": NOW + HOUR})
        act(keyring, "revoke", KEYS[1], None, {"since_ms": NOW + 5})
        assert [record(keyring, key).state for key in range(4)] == ["pinned", "revoked", "distrusted", "distrusted"]
        assert judge(keyring, sighting(key=1, time_ms=NOW), sighting(key=1, time_ms=NOW + 5)) == [None, "revoked key"]
        assert judge(keyring, sighting(key=1, seq=2, time_ms=NOW), required="known") == [
            "seen key, where one that is known is asked for"
        ]
        act(keyring, "revoke", KEYS[1], None, {"since_ms": 0})
        act(keyring, "revoke", KEYS[1], None, {"since_ms": NOW})
        assert record(keyring, 1).revoked_ms == 1
        before = known(keyring)
        keyring.check()
        assert known(keyring) == before


def test_revoke_wins_over_rotate(path):
    rotation = {"time_ms": NOW - 1, "until_ms": NOW + HOUR}
    with ring(path) as keyring:
        act(keyring, "revoke", KEYS[0], None, {"since_ms": NOW})
        for old, new in ((0, 1), (1, 0)):
            with pytest.raises(KeyFileError, match="is revoked"):
                act(keyring, "rotate", KEYS[old], KEYS[new], rotation)


def test_a_recovery_key_must_have_been_announced(path):
    with ring(path) as keyring:
        with pytest.raises(KeyFileError, match="not announced before"):
            act(keyring, "revoke", KEYS[0], KEYS[9], {"since_ms": NOW})
        act(keyring, "announce", KEYS[0], ANNOUNCED)
        with pytest.raises(KeyFileError, match="not announced before"):
            act(keyring, "revoke", KEYS[0], KEYS[8], {"since_ms": NOW})
        act(keyring, "revoke", KEYS[0], KEYS[9], {"since_ms": NOW})
        assert record(keyring).state == "revoked"


# --- bounds


def test_a_key_that_floods_loses_its_own_window_alone_and_no_replay_passes(path):
    flood = [sighting(seq=number) for number in range(1, 300)]
    with ring(path, limits=Small) as keyring:
        judge(keyring, sighting(key=1))
        for ten in itertools.batched(flood, 10) if hasattr(itertools, "batched") else zip(*[iter(flood)] * 10):  # noqa: B905
            assert set(judge(keyring, *ten)) == {None}
        replayed = judge(keyring, *flood[:290])
        assert set(replayed) == {"too old", "duplicate"}
        assert record(keyring).remembered <= Small.window_of_key
        assert judge(keyring, sighting(key=1)) == ["duplicate"]


def test_a_flood_of_keys_leaves_those_that_count(path):
    with ring(path, limits=Small) as keyring:
        judge(keyring, sighting(key=0, confirmed=b"12345678"))
        with keyring.update(NOW) as update:
            update.note(KEYS[1], "a friend")
        judge(keyring, sighting(key=1))
        for key in range(2, 40):
            assert judge(keyring, *(sighting(key=key, seq=seq) for seq in range(1, 9))) == [None] * 8
        with keyring.reading() as index:
            found = {record.key for record in index.records()}
            assert {KEYS[0].raw, KEYS[1].raw} <= found
            assert len(found) <= Small.keys + 1
            assert keyring._cache.whole <= found
            assert index.remembered() == len(list(index.entries())) <= Small.window
            assert all(entry.key in found for entry in index.entries())
        assert judge(keyring, sighting(key=0), sighting(key=1)) == ["duplicate", "duplicate"]
        assert os.path.getsize(path) < 3 * Small.log
        before = {row[0] for row in known(keyring)["records"]}
        keyring.check()
        assert {row[0] for row in known(keyring)["records"]} == before


def test_what_is_read_again_is_the_same(path, monkeypatch):
    """The cache of records and numbers is bounded, too."""
    monkeypatch.setattr(Cache, "limit", 2)
    with ring(path) as keyring:
        for seq in range(1, 4):
            assert judge(keyring, *(sighting(key=key, seq=2 * seq) for key in range(5))) == [None] * 5
            assert len(keyring._cache.records) + len(keyring._cache.lanes) <= 4
        assert [record(keyring, key).missing for key in range(5)] == [2] * 5


def test_recipients_are_bounded(path):
    with ring(path, limits=Small) as keyring:
        for number in range(30):
            judge(keyring, sighting(to=f"192.0.2.{number}"), now=NOW + number)
        with keyring.reading() as index:
            rows = index.all_numbers(KEYS[0].raw)
        assert [row["to"] for row in rows] == [f"192.0.2.{number}" for number in range(22, 30)]


def test_numbers_that_are_no_longer_kept_are_not_taken_up_again(path):
    """What was written of a recipient before others pushed it out is not what it has by now."""
    many = [f"192.0.2.{host}" for host in range(20)]
    for run in range(4):
        with ring(path, limits=Small) as keyring:
            for seq in range(3 * run + 1, 3 * run + 4):
                order = many if seq % 2 else many[::-1]
                judge(keyring, *(sighting(seq=seq, to=to) for to in order), now=NOW + seq)
            assert record(keyring).missing == 0


def test_recipients_are_bounded_in_one_update_too(path):
    with ring(path, limits=Small) as keyring:
        judge(keyring, *(sighting(key=key, to=f"192.0.2.{number}") for number in range(30) for key in (0, 1)))
        with keyring.reading() as index:
            for key in KEYS[:2]:
                assert [row["to"][8:] for row in index.all_numbers(key.raw)] == [f"{at}" for at in range(22, 30)]
        known_before = known(keyring)
        keyring.check()
        assert known(keyring) == known_before


def test_a_shorter_log_says_the_same(path):
    told = []
    with ring(path, told, Small) as keyring:
        with keyring.update(NOW) as update:
            update.decide(KEYS[2], "pinned", "Näme")
            update.announce(KEYS[2], ANNOUNCED)
        judge(keyring, sighting(), sighting(key=3), required="seen")
        judge(keyring, sighting(key=3))
        judge(keyring, sighting(key=1), sighting(key=1, body=b"x"))
        first = path.read_bytes().split(b"\n")[0]
        judge(keyring, *(sighting(key=4, seq=number, body=b"x" * 900) for number in range(1, 30)))
        assert path.read_bytes().split(b"\n")[0] != first
        before = known(keyring)
        assert judge(keyring, sighting(key=3), sighting(key=4, seq=9, body=b"x" * 900)) == ["duplicate"] * 2
        keyring.check()
        assert known(keyring) == before
        assert judge(keyring, sighting(key=4, seq=9)) == ["equivocation"]
    assert told == []


def test_a_log_that_cannot_be_made_shorter_goes_on(path, monkeypatch):
    told = []
    with ring(path, told, Small) as keyring:
        judge(keyring, sighting())
        monkeypatch.setattr(keyring._log, "replace", lambda _: (_ for _ in ()).throw(KeyFileError("ring: full")))
        assert judge(keyring, *(sighting(seq=number, body=b"x" * 900) for number in range(2, 30))) == [None] * 28
        assert told == ["ring: full; the log could not be made shorter"]
        assert judge(keyring, sighting(seq=3, body=b"x" * 900)) == ["duplicate"]
