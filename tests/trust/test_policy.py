"""Policies: what the file may say, and what follows for a report."""

import pytest
from trust.rings import KEYS, NOW

from overflowd_tools.errors import UsageError
from overflowd_tools.trust.policy import Policy, parse

KEY = KEYS[0].text
WHOLE = f"""
[defaults]
accept = "seen"
export = "known"
accuse = "pinned"

[key."{KEY}"]
state = "pinned"
name = "Example Net"
max_rate = 2
prefixes = ["192.0.2.0/25"]

[own]
prefixes = ["192.0.2.0/24", "2001:db8::/32"]
exporters = "unsampled"
"""


def test_every_setting():
    policy = parse(WHOLE, "p")
    assert policy.required == {"accept": "seen", "export": "known", "accuse": "pinned"}
    assert policy.unsampled
    assert [str(network) for network in policy.own] == ["192.0.2.0/24", "2001:db8::/32"]
    settled = policy.keys[KEYS[0]]
    assert (settled.state, settled.name, settled.max_rate) == ("pinned", "Example Net", 2)


def test_an_empty_file_is_the_policy_of_those_who_have_none():
    assert parse("", "p") == Policy()
    assert Policy().required["accept"] == "unknown"
    assert Policy().why_not(KEYS[0], "", NOW) is None
    assert parse(f'[key."{KEY}"]\n', "p").keys[KEYS[0]].admits(NOW)


def test_states_that_are_settled():
    policy = parse(WHOLE, "p")
    assert [policy.state(KEYS[0], found) for found in ("unknown", "distrusted", "revoked")] == [
        *("pinned", "pinned", "revoked")
    ]
    assert policy.state(KEYS[1], "seen") == "seen"
    assert parse(f'[key."{KEY}"]\nname = "x"', "p").state(KEYS[0], "seen") == "seen"


def test_uses():
    policy = parse(WHOLE, "p")
    uses = {state: policy.uses(state) for state in ("unknown", "seen", "known", "pinned")}
    assert uses == {
        "unknown": [],
        "seen": ["accept"],
        "known": ["accept", "export"],
        "pinned": ["accept", "export", "accuse"],
    }


@pytest.mark.parametrize(
    ("key", "recipient", "reason"),
    [
        (0, "192.0.2.1", None),
        (0, "192.0.2.129", "out of scope"),
        (1, "192.0.2.129", None),
        (1, "2001:db8::1", None),
        (1, "198.51.100.1", "not ours"),
        (1, "", "not ours"),
    ],
)
def test_recipients(key, recipient, reason):
    found = parse(WHOLE, "p").why_not(KEYS[key], recipient, NOW)
    assert (found and found.partition(":")[0]) == reason


def test_rates():
    policy = parse(WHOLE, "p")

    def admitted(now_ms):
        return policy.why_not(KEYS[0], "192.0.2.1", now_ms) is None

    assert [admitted(NOW) for _ in range(3)] == [True, True, False]
    assert [admitted(NOW + 500), admitted(NOW + 500)] == [True, False]
    assert [admitted(NOW - 10_000), admitted(NOW - 9_500)] == [False, True]  # a clock that goes back gives nothing
    assert [admitted(NOW + 10**9) for _ in range(3)] == [True, True, False]
    slow = parse(f'[key."{KEY}"]\nmax_rate = 0.1', "p")
    assert [slow.why_not(KEYS[0], "", NOW + ms) is None for ms in (0, 5_000, 10_001)] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", "unknown setting x; known here: defaults, key, own"),
        ("defaults = 1", "defaults is not a table"),
        ("[defaults]\naccept = 'good'", "defaults.accept is none of unknown, seen, known, pinned"),
        ("[defaults]\naccept = ['seen']", "defaults.accept is none of"),
        ("[defaults]\naccept = 'revoked'", "defaults.accept is none of"),
        ("[defaults]\nblame = 'seen'", "unknown setting defaults.blame"),
        ("[own]\nexporters = 'x'", 'own.exporters is neither "sampled" nor "unsampled"'),
        ("[own]\nprefixes = '192.0.2.0/24'", "own.prefixes is not a list of strings"),
        ("[own]\nprefixes = [1]", "own.prefixes is not a list of strings"),
        ("[own]\nprefixes = ['192.0.2.1/24']", "own.prefixes: 192.0.2.1/24 has host bits set"),
        ("[key.x]", "key.x: not a public key"),
        (f'[key]\n"{KEY}" = 1', "is not a table"),
        (f'[key."{KEY}"]\nmax_rate = 0', "max_rate is not a number of reports a second above 0"),
        (f'[key."{KEY}"]\nmax_rate = true', "max_rate is not a number"),
        (f'[key."{KEY}"]\nmax_rate = nan', "max_rate is not a number"),
        (f'[key."{KEY}"]\nmax_rate = inf', "max_rate is not a number"),
        (f'[key."{KEY}"]\nname = 1', "name is not a string"),
        (f'[key."{KEY}"]\nstate = "revoked"', "state is none of distrusted"),
        (f'[key."{KEY}"]\nstatus = "seen"', f"unknown setting key.{KEY}.status"),
        ("x = =", "at line 1"),
        ("a = " + "[" * 5000, ""),
    ],
)
def test_what_makes_no_sense(text, reason):
    with pytest.raises(UsageError) as caught:
        parse(text, "p")
    assert str(caught.value).startswith("p: ")
    assert reason in str(caught.value)
