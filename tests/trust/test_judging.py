"""What becomes of a genuine report: policy, keyring and our own records together."""

import json

import pytest
from trust.rings import HOUR, KEYS, NOW, record, ring, sighting

from overflowd_tools.trust import judging
from overflowd_tools.trust.corroboration import SLACK_MS, OwnFlows
from overflowd_tools.trust.judging import Judge
from overflowd_tools.trust.policy import Policy, parse

FLOW = {"saddr": "192.0.2.7", "daddr": "192.0.2.1", "start_ms": NOW, "end_ms": NOW}
OTHER = {**FLOW, "dport": 80}


def own_flows() -> OwnFlows:
    made = OwnFlows()
    for more in ({}, {"sport": 1, "start_ms": NOW - SLACK_MS}, {"sport": 1, "end_ms": NOW + SLACK_MS}):
        made.add({**FLOW, **more})
    return made


def judge(judge, *sightings, flow=FLOW, role="dst", now=NOW) -> list:
    """Return the mark of each as an object, or why there is none, up to the colon."""
    with judge.session(now) as judged:
        found = [judged(one, flow, role) for one in sightings]
    return [one.reason.partition(":")[0] if one.reason else json.loads(b"{%s}" % one.mark) for one in found]


def test_with_a_keyring(tmp_path):
    with ring(tmp_path / "ring") as keyring:
        made = Judge(Policy(), None, keyring)
        assert judge(made, sighting(), sighting()) == [{"state": "unknown", "for": ["accept"]}, "duplicate"]
        with keyring.update(NOW) as update:
            update.decide(KEYS[0], "pinned")
        assert judge(made, sighting(seq=2)) == [{"state": "pinned", "for": ["accept", "export", "accuse"]}]
        assert judge(Judge(Policy(), "seen", keyring), sighting(key=1)) == [
            "unknown key, where one that is seen is asked for"
        ]


def test_without_one_the_policy_alone_says():
    policy = parse(f'[key."{KEYS[0].text}"]\nstate="known"\n[key."{KEYS[1].text}"]\nstate="distrusted"', "p")
    found = judge(Judge(policy, None), sighting(), sighting(), sighting(key=1), sighting(key=2))
    assert found == [{"state": "known", "for": ["accept", "export"]}] * 2 + [
        "distrusted key",
        {"state": "unknown", "for": ["accept"]},
    ]
    assert judge(Judge(policy, "seen"), sighting(key=2)) == ["unknown key, where one that is seen is asked for"]


def test_the_policy_outdoes_the_keyring_but_not_a_revocation(tmp_path):
    policy = parse("".join(f'[key."{key.text}"]\nstate="pinned"\n' for key in KEYS[:2]), "p")
    with ring(tmp_path / "ring") as keyring:
        with keyring.update(NOW) as update:
            update.decide(KEYS[0], "distrusted")
            update.revoke(KEYS[1], None, {"since_ms": 0})
        found = judge(Judge(policy, "pinned", keyring), sighting(), sighting(key=1))
        assert found == [{"state": "pinned", "for": ["accept", "export", "accuse"]}, "revoked key"]


def test_what_the_policy_refuses_is_not_entered(tmp_path):
    with ring(tmp_path / "ring") as keyring:
        made = Judge(parse('[own]\nprefixes = ["198.51.100.0/24"]', "p"), None, keyring)
        assert judge(made, sighting()) == ["not ours"]
        assert record(keyring).reports == 0


def test_expired_reports_of_an_archive_teach_nothing(tmp_path):
    with ring(tmp_path / "ring") as keyring:
        made = Judge(Policy(), None, keyring)
        passed = {"state": "unknown", "for": ["accept"]}
        assert judge(made, sighting(), sighting(), now=NOW + 2 * HOUR) == [passed, passed]
        assert record(keyring).reports == 0


def test_our_own_records(tmp_path):
    policy = parse('[own]\nexporters = "unsampled"', "p")
    with ring(tmp_path / "ring") as keyring:
        made = Judge(policy, None, keyring, own_flows())
        assert judge(made, sighting())[0]["own"] == "found"
        assert judge(made, sighting(key=1), flow=OTHER)[0]["own"] == "absent"
        assert judge(made, sighting(key=2), flow=OTHER, role="src")[0]["own"] == "absent"
        assert judge(made, sighting(key=3), flow={**OTHER, "end_ms": NOW + HOUR})[0]["own"] == "unknown"
        found = [(record(keyring, key).corroborated, record(keyring, key).contradictions) for key in range(4)]
        assert found == [(1, 0), (0, 1), (0, 0), (0, 0)]
        assert judge(Judge(Policy(), None, keyring, own_flows()), sighting(key=4), flow=OTHER)[0]["own"] == "absent"
        assert record(keyring, 4).contradictions == 0


def test_what_is_missing(tmp_path, monkeypatch):
    with ring(tmp_path / "ring") as keyring:
        made = Judge(Policy(), None, keyring)
        judge(made, sighting(seq=1), sighting(seq=5), sighting(seq=2), sighting(key=1), sighting(key=2, seq=0))
        assert made.missing() == [(2, KEYS[0].text, 7, "192.0.2.1")]
        judge(made, sighting(key=3, seq=2), sighting(key=3, seq=9))
        assert [gap[0] for gap in made.missing()] == [6, 2]
        monkeypatch.setattr(judging, "_RECIPIENTS", 1)
        for key in (4, 5, 6, 7):
            judge(made, sighting(key=key, seq=1), sighting(key=key, seq=3))
        assert len(made.missing()) <= 4


@pytest.mark.parametrize("required", ["unknown", "seen", "known", "pinned"])
def test_the_requirement_of_the_policy(required):
    policy = parse(f'[defaults]\naccept = "{required}"', "p")
    found = judge(Judge(policy, None), sighting())
    assert (type(found[0]) is dict) == (required == "unknown")
