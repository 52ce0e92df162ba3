"""Whose key is for which address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import UsageError
from overflowd_tools.trust import recipients
from overflowd_tools.trust.keys import SecretKey
from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey

KEYS = [ReceivingKey(bytes([number]) * 32).public for number in range(4)]
A, B, C, D = (key.text for key in KEYS)
SIGNER = SecretKey.from_seed(bytes(32)).public


def found(text, address):
    key = recipients.parse(text, "list").key(address)
    return key and key.text


def test_the_longest_prefix_counts():
    text = f"""
# comments, blank lines, CRLF

192.0.2.0/24\t{A}\r
192.0.2.7 {B}   # a host
0.0.0.0/0 {C}
2001:db8::/32 {D}
2001:db8:1::/48 {A}
"""
    assert found(text, "192.0.2.8") == A
    assert found(text, "192.0.2.7") == B
    assert found(text, "8.8.8.8") == C
    assert found(text, "::ffff:192.0.2.7") == B
    assert found(text, "2001:db8:2::1") == D
    assert found(text, "2001:db8:1::1") == A
    assert found(text, "2001:db9::1") is None
    assert found(f"192.0.2.0/24 {A}", "198.51.100.1") is None
    assert found(f"192.0.2.0/24 {A}", "::1") is None


def test_a_key_that_signs():
    assert found(f"::/0 {SIGNER.text}", "::1") == RecipientKey.of_signer(SIGNER).text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "list: no key in it"),
        ("# nothing", "list: no key in it"),
        ("192.0.2.0/24", "list: line 1: not a prefix and a key"),
        (f"192.0.2.0/24 {A} {B}", "list: line 1: not a prefix and a key"),
        (f"\n192.0.2.1/24 {A}", "list: line 2: 192.0.2.1/24 has host bits set"),
        (f"example.net {A}", "list: line 1: 'example.net' does not appear to be an IPv4 or IPv6 network"),
        (f"{A} 192.0.2.0/24", "list: line 1: "),
        (f"192.0.2.0/24 {A[:-1]}", "list: line 1: mistyped"),
        ("192.0.2.0/24 AGE-SECRET-KEY-1QQQ", "list: line 1: a secret key"),
        (f"192.0.2.0/24 {A}\n192.0.2.0/24 {B}", "list: line 2: 192.0.2.0/24 is there already"),
    ],
)
def test_bad_lists(text, reason):
    with pytest.raises(UsageError) as caught:
        recipients.parse(text, "list")
    assert str(caught.value).startswith(reason)


PREFIXES = st.dictionaries(
    st.tuples(st.integers(0, 7), st.integers(24, 32)).map(
        lambda pair: str(ipaddress.ip_network(((0xC0000200 + (pair[0] << 5)), pair[1]), strict=False))
    ),
    st.sampled_from(KEYS),
    min_size=1,
)


@given(PREFIXES, st.integers(0, 255))
def test_as_asking_every_prefix(listed, last):
    address = ipaddress.ip_address(0xC0000200 + last)
    text = "\n".join(f"{prefix} {key.text}" for prefix, key in listed.items())
    within = [
        (net.prefixlen, key) for prefix, key in listed.items() if address in (net := ipaddress.ip_network(prefix))
    ]
    expected = max(within, key=lambda pair: pair[0])[1] if within else None
    assert recipients.parse(text, "list").key(str(address)) == expected
