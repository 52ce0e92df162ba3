"""Reports made from flows: what goes in, to whom, under which number."""

import json
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, envelope, report, writer
from overflowd_tools.trust.keys import SecretKey

KEY = SecretKey.from_seed(bytes(range(32)))
CONTACT = writer.Contact("noc@example.net", "Example Net")
NOW = 1_795_219_200_000
BOTH = ("src", "dst")
FLOW = {
    "type": "flow",
    "pcount": 17001,
    "source": "netflow5",
    "exporter": "192.0.2.1",
    "domain": 0,
    "export_ms": NOW,
    "saddr": "192.0.2.7",
    "daddr": "198.51.100.1",
    "bcount": 682512,
    "stime": 1,
    "etime": 2,
    "sport": 53,
    "dport": 40000,
    "flags": 0,
    "protocol": 17,
    "tos": 0,
    "start_ms": NOW - 62_000,
    "end_ms": NOW - 1_000,
    "nexthop": "192.0.2.254",
    "in_if": 1,
    "out_if": 2,
    "src_as": 64500,
    "dst_as": 64501,
    "as_path": [64500],
    "smac": "00:00:5e:00:53:01",
    "vlan": 7,
    "nat": {"saddr": "10.0.0.1"},
    "p_ppt": 17_001_000_000,
    "sampling_rate": 100,
    "why": ["amprep"],
}


TOTAL = {"octets": 4_014_540_321, "packets": 100_000_000, "reports": 1}


def maker(roles=BOTH, contact=CONTACT, lifetime_ms=3_600_000):
    return writer.Writer(KEY.public, contact, roles, lifetime_ms)


def reports(flow, **more):
    """Return the reports on one flow, read back."""
    made = maker(**more)
    read = []
    for body in made.bodies(flow, NOW):
        line = made.complete(body, KEY.sign(body))
        read.append(report.read(line))
        assert read[-1].text == line
        assert read[-1].signed == body == canonical.encode(canonical.decode(body))
        read[-1].verify([KEY.public])
        read[-1].check_time(NOW)
    return [one.members for one in read]


def flow(**changes):
    return {name: value for name, value in {**FLOW, **changes}.items() if value is not None}


def test_one_report_for_each_end():
    source, destination = reports(FLOW)
    assert source["metadata"] | {"to": 0, "role": 0} == destination["metadata"] | {"to": 0, "role": 0}
    assert {name: source["metadata"][name] for name in ("to", "role")} == {"to": "192.0.2.7", "role": "src"}
    assert {name: destination["metadata"][name] for name in ("to", "role")} == {"to": "198.51.100.1", "role": "dst"}
    assert source["flowdata"] == destination["flowdata"]
    assert source["contact"] == {"email": "noc@example.net", "identity": "Example Net"}
    epoch = source["metadata"]["epoch"]
    assert 0 <= epoch < 1 << 48
    assert source["metadata"] == {
        "class": "INFORMATIONAL",
        "info": "FLOWSEEN",
        "time_ms": NOW,
        "expires_ms": NOW + 3_600_000,
        "to": "192.0.2.7",
        "role": "src",
        "p_ppt": 17_001_000_000,
        "sampling_rate": 100,
        "epoch": epoch,
        "seq": 1,
        "total": TOTAL,
        "why": ["amprep"],
    }


def test_only_what_the_ends_know_goes_in():
    allowed = "saddr daddr sport dport protocol flags tos pcount bcount start_ms end_ms"
    for one in reports(FLOW):
        data = one["flowdata"]["data"]
        assert set(data) == set(allowed.split())
        assert data == {name: FLOW[name] for name in data}


@pytest.mark.parametrize(("roles", "to"), [(["src"], ["192.0.2.7"]), (["dst"], ["198.51.100.1"]), ([], [None])])
def test_roles(roles, to):
    made = reports(FLOW, roles=roles)
    assert [one["metadata"].get("to") for one in made] == to
    assert [one["metadata"].get("role") for one in made] == (roles or [None])


def test_what_is_absent_stays_absent():
    (one,) = reports({"saddr": "::1", "daddr": "::2"}, roles=["dst"])
    assert one["flowdata"] == {"data": {"saddr": "::1", "daddr": "::2"}}
    assert set(one["metadata"]) == {"class", "info", "time_ms", "expires_ms", "epoch", "seq", "to", "role", "total"}
    (one,) = reports(flow(sport=0, pcount=0) | {"tos": None}, roles=["dst"])
    assert one["flowdata"]["data"]["sport"] == 0
    assert "tos" not in one["flowdata"]["data"]


@pytest.mark.parametrize(
    ("given_text", "text"),
    [
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
        ("::ffff:c000:201", "::ffff:192.0.2.1"),
        ("0:0:0:0:0:0:0:0", "::"),
    ],
)
def test_addresses_become_canonical(given_text, text):
    (one,) = reports(flow(saddr=given_text), roles=["src"])
    assert one["flowdata"]["data"]["saddr"] == one["metadata"]["to"] == text


@pytest.mark.parametrize(
    ("source", "sourcetype"),
    [
        ("netflow1", {"type": "Netflow", "version": 1}),
        ("netflow5", {"type": "Netflow", "version": 5}),
        ("netflow9", {"type": "Netflow", "version": 9}),
        ("ipfix", {"type": "IPFIX", "version": 10}),
        ("sflow5", {"type": "sFlow", "version": 5}),
        ("packet", {"type": "Packet"}),
        ("meter", {"type": "meter"}),
        ("home-made_flow2", {"type": "home-made_flow", "version": 2}),
    ],
)
def test_source_types(source, sourcetype):
    assert reports(flow(source=source))[0]["flowdata"]["sourcetype"] == sourcetype


REFUSED = [
    ({"saddr": None}, "no saddr"),
    ({"daddr": None}, "no daddr"),
    ({"saddr": "example.net"}, "saddr is not an address"),
    ({"daddr": "1.2.3.4/32"}, "daddr is not an address"),
    ({"daddr": "fe80::1%eth0"}, "daddr is not an address"),
    ({"daddr": "1.2.3.4\0"}, "daddr is not an address"),
    ({"daddr": "\ud800"}, "daddr is not an address"),
    ({"daddr": 16909060}, "daddr is not an address"),
    ({"daddr": ["1.2.3.4"]}, "daddr is not an address"),
    ({"pcount": 2**53}, "pcount is beyond 2^53-1, which a report cannot carry"),
    ({"bcount": 2**64 - 1}, "bcount is beyond 2^53-1, which a report cannot carry"),
    ({"bcount": 2.0**64}, "bcount is beyond 2^53-1, which a report cannot carry"),
    ({"pcount": -1}, "pcount is not an integer from 0 to 9007199254740991"),
    ({"sport": 65536}, "sport is not an integer from 0 to 65535"),
    ({"sport": "53"}, "sport is not an integer from 0 to 65535"),
    ({"protocol": True}, "protocol is not an integer from 0 to 255"),
    ({"tos": 0.0}, "tos is not an integer from 0 to 255"),
    ({"p_ppt": 0}, "p_ppt is not an integer from 1 to 1000000000000"),
    ({"sampling_rate": 1.5}, "sampling_rate is not an integer from 1 to 9007199254740991"),
    ({"why": "frag"}, "why is not a list of up to 16 rule ids"),
    ({"why": ["a b"]}, "why has a rule id that is not 1 to 32 printable ASCII characters"),
    ({"source": 5}, "source is not a name such as netflow5"),
    ({"source": "net flow"}, "source is not a name such as netflow5"),
    ({"source": ""}, "source is not a name such as netflow5"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_flows_that_cannot_be_signed(changes, reason):
    with pytest.raises(RecordError) as caught:
        maker().bodies(flow(**changes), NOW)
    assert str(caught.value) == reason


ADDRESSES = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str)
FLOWS = st.fixed_dictionaries(
    {"saddr": ADDRESSES, "daddr": ADDRESSES},
    optional={
        **{
            name: st.integers(allowed[0], allowed[-1])
            for name, allowed in {**report.FLOW_FIELDS, **report.SAMPLING_FIELDS}.items()
        },
        "source": st.from_regex("(netflow|ipfix|sflow|packet|[a-z]{1,31})[0-9]{0,3}", fullmatch=True).filter(
            lambda name: name != "netflow8"
        ),
        "why": st.lists(st.from_regex("[!-~]{1,32}", fullmatch=True), max_size=16),
        "type": st.just("flow"),
        "nexthop": ADDRESSES,
    },
)


@given(FLOWS, st.sampled_from([BOTH, ["src"], ["dst"], []]))
def test_every_flow_gives_genuine_reports_that_fit_a_datagram(one_flow, roles):
    for members in reports(one_flow, roles=roles):
        assert members["flowdata"]["data"].items() >= {(n, one_flow[n]) for n in report.FLOW_FIELDS if n in one_flow}
        signed = report.signable(members)
        assert len(envelope.pack(KEY.public, bytes(64), signed)) <= envelope.MAX_DATAGRAM


@given(FLOWS, st.sampled_from([BOTH, ["dst"], []]))
def test_lines_of_flows(one_flow, roles):
    """However they are written, the reports on them are the same."""

    def what(found):
        return [re.sub(rb'("epoch":)[0-9]+', rb"\1", body) for body in found]

    expected = what(maker(roles).bodies(one_flow, NOW))
    for separators in ((",", ":"), (", ", ": ")):
        assert what(maker(roles).bodies_of(json.dumps(one_flow, separators=separators).encode(), NOW)) == expected


def test_lines_of_other_types():
    assert maker().bodies_of(b'{"type":"option"}', NOW) is None
    assert maker().bodies_of(b'{"$schema":"overflowd-report/2"}', NOW) is None
    with pytest.raises(RecordError, match=r"^not JSON: "):
        maker().bodies_of(b"{", NOW)


def test_long_texts_are_not_kept():
    """A table of what was looked up lately must not be filled with what others chose to write there."""
    made = maker()
    tracemalloc.start()
    try:
        for number in range(50):
            for name in ("saddr", "source"):
                with pytest.raises(RecordError):
                    made.bodies(flow(**{name: f"{number}" + "x" * 1_000_000}), NOW)
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()


def test_rules_are_left_out_where_there_is_no_room():
    rules = ["r" * 32] * 16
    (one,) = reports(flow(why=rules), roles=["dst"])
    assert "why" not in one["metadata"]
    assert one["metadata"] == reports(flow(why=None), roles=["dst"])[0]["metadata"] | {
        "epoch": one["metadata"]["epoch"]
    }


def test_a_report_that_cannot_be_made_short_is_refused():
    contact = writer.Contact('"' * 31 + "@" + '"' * 32, '"' * 64)
    most = 2**53 - 1
    large = {name: allowed[0] if allowed[0] < 0 else allowed[-1] for name, allowed in report.FLOW_FIELDS.items()}
    address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    large |= {"saddr": address, "daddr": address, "source": "s" * 31 + "999", "p_ppt": 10**12, "sampling_rate": most}
    with pytest.raises(RecordError, match=r"^the report would be longer than 1000 octets$"):
        maker(contact=contact).bodies(large, NOW)


@pytest.mark.parametrize(
    ("email", "identity"),
    [("", "x"), ("a@b", ""), ("ab", "x"), ("a@b", "x\n"), ("a@b", "\ud800"), ("a@b", "x" * 65), ("a@" + "b" * 63, "x")],
)
def test_contacts_that_no_report_may_carry(email, identity):
    with pytest.raises(RecordError):
        writer.Contact(email, identity)


@pytest.mark.parametrize("identity", ["x" * 64, "科" * 21, '"\\"', "Ö 🎓"])
def test_contacts_in_reports(identity):
    (one,) = reports(FLOW, contact=writer.Contact("ä@b", identity), roles=["dst"])
    assert one["contact"] == {"email": "ä@b", "identity": identity}


def test_each_recipient_is_counted_for_itself():
    made = maker()
    flows = [flow(), flow(), flow(daddr="203.0.113.1"), flow(saddr="198.51.100.1", daddr="192.0.2.7")]
    bodies = [json.loads(body)["metadata"] for one in flows for body in made.bodies(one, NOW)]
    assert [(one["to"], one["seq"]) for one in bodies] == [
        ("192.0.2.7", 1),
        ("198.51.100.1", 1),
        ("192.0.2.7", 2),
        ("198.51.100.1", 2),
        ("192.0.2.7", 3),
        ("203.0.113.1", 1),
        ("198.51.100.1", 3),
        ("192.0.2.7", 4),
    ]
    assert len({one["epoch"] for one in bodies}) == 1


def test_a_refused_flow_uses_up_no_number():
    made = maker(roles=["dst"])
    with pytest.raises(RecordError):
        made.bodies(flow(sport=-1), NOW)
    (body,) = made.bodies(FLOW, NOW)
    assert json.loads(body)["metadata"]["seq"] == 1


def totals(made, *flows):
    """Return what the reports on flows say about all reports so far, for each recipient."""
    bodies = [json.loads(body)["metadata"] for flow in flows for body in made.bodies(flow, NOW)]
    return [(one["to"], *(one["total"][name] for name in ("reports", "packets", "octets"))) for one in bodies]


def test_totals_are_of_one_recipient():
    one = {"saddr": "192.0.2.7", "daddr": "198.51.100.1", "pcount": 2, "bcount": 120, "p_ppt": 500_000_000_000}
    other = {"saddr": "203.0.113.1", "daddr": "198.51.100.1", "pcount": 3, "bcount": 180, "sampling_rate": 10}
    assert totals(maker(), one, other, one) == [
        ("192.0.2.7", 1, 4, 240),
        ("198.51.100.1", 1, 4, 240),
        ("203.0.113.1", 1, 30, 1800),
        ("198.51.100.1", 2, 34, 2040),
        ("192.0.2.7", 2, 8, 480),
        ("198.51.100.1", 3, 38, 2280),
    ]


def test_a_flow_without_counters_stands_for_one_packet():
    ends = {"saddr": "::1", "daddr": "::2", "p_ppt": 250_000_000_000}
    assert totals(maker(["dst"]), ends, {**ends, "pcount": 0, "bcount": 0}) == [("::2", 1, 4, 0), ("::2", 2, 8, 0)]


def test_totals_stay_at_the_most_that_a_report_can_carry():
    most = 2**53 - 1
    flow = {"saddr": "::1", "daddr": "::2", "pcount": most, "bcount": most, "p_ppt": 1, "sampling_rate": most}
    assert totals(maker(["dst"]), flow, flow) == [("::2", 1, most, most), ("::2", 2, most, most)]


def test_a_report_to_nobody_has_no_total():
    (one,) = reports(FLOW, roles=[])
    assert "total" not in one["metadata"]


def test_what_is_left_out_where_there_is_no_room():
    """First the rules, and then the total; what is left always fits the datagram."""
    long = {"saddr": "2001:db8:1111:2222:3333:4444:5555:6666", "daddr": "2001:db8:1111:2222:3333:4444:5555:7777"}
    seen = set()
    for quotes in range(1, 65):
        contact = writer.Contact('"' * 52 + "@example.net", "\\" * quotes)
        for rules in ([], ["r" * 32] * 3):
            most = {**FLOW, **long, "pcount": 2**53 - 1, "why": rules}
            made = maker(["dst"], contact)
            try:
                (body,) = made.bodies(most, NOW)
            except RecordError as error:
                assert str(error) == "the report would be longer than 1000 octets"  # noqa: PT017
                seen.add("refused")
                continue
            assert len(body) <= writer.MAX_SIGNED
            assert len(envelope.pack(KEY.public, bytes(64), body)) <= envelope.MAX_DATAGRAM
            metadata = canonical.decode(body)["metadata"]
            assert "total" in metadata or "why" not in metadata
            seen.add(("total" in metadata, "why" in metadata))
    assert seen >= {(True, True), (True, False), (False, False)}
