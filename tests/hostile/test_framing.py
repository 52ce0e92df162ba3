"""Headers, lengths, counts, sets and padding that lie: items 1 to 6."""

import struct

import pytest

from tests.hostile import builders as build
from tests.hostile.builders import (
    TEMPLATE,
    TEMPLATE9,
    calling_itself,
    data,
    ipfix,
    netflow5,
    netflow9,
    never_came,
    rows,
    sflow,
    template,
    template9,
)
from tests.protocols import netflow_builders as fixed

NOTHING: list[int] = []
MESSAGE = ipfix(TEMPLATE, rows(7))
SHORT = [
    pytest.param(datagram[:length], id=f"{name}-{length}")
    for name, datagram in {
        **{kind: fixed.random_datagram(1, kind, 1) for kind in ("netflow1", "netflow5", "netflow6", "netflow7")},
        "netflow8": b"\0\x08" + netflow5(5)[2:],
        "netflow9": netflow9(TEMPLATE9, rows(7)),
        "ipfix": MESSAGE,
        "sflow5": sflow.datagram5(sflow.GOOD),
    }.items()
    for length in (0, 1, 2, 3, 4, 7)
]


# --- 1. less than a header


@pytest.mark.parametrize("datagram", SHORT)
def test_a_few_octets_are_no_export(between, datagram):
    """Nothing tells them from the datagrams of any other protocol."""
    done = between(datagram)
    assert (done.status, done.lines, done.counts["other_packets"]) == (0, [], 1)


@pytest.mark.parametrize("length", [8, 12, 15])
def test_an_ipfix_header_cut_short(between, length):
    done = between(calling_itself(length, MESSAGE[:length]))
    assert (done.lines, done.reasons) == ([], [f"IPFIX header cut short: {length} of 16 octets"])


@pytest.mark.parametrize("length", [8, 20, 27])
def test_an_sflow_header_cut_short(between, length):
    done = between(sflow.datagram5(sflow.GOOD)[:length])
    assert (done.lines, done.reasons) == ([], [f"sFlow header cut short: {length} of 28 octets"])


@pytest.mark.parametrize(
    "datagram",
    [MESSAGE[:15], netflow9(TEMPLATE9)[:15], netflow9(TEMPLATE9)[:19], b"\0\x09" + bytes(19), b"\0\x0a" + bytes(19)],
)
def test_a_header_without_a_true_length_is_no_export(between, datagram):
    done = between(datagram)
    assert (done.status, done.lines, done.counts["other_packets"]) == (0, [], 1)


@pytest.mark.parametrize(
    ("datagram", "kept", "reason"),
    [
        (netflow9(TEMPLATE9, rows(7)), 12, "NetFlow 9 header cut short: 12 of 20 octets"),
        (netflow9(TEMPLATE9, rows(7)), 19, "NetFlow 9 header cut short: 19 of 20 octets"),
        (MESSAGE, 4, "IPFIX header cut short: 4 of 16 octets"),
        (MESSAGE, 15, "IPFIX header cut short: 15 of 16 octets"),
    ],
)
def test_a_header_that_the_capture_cuts(decode, datagram, kept, reason):
    """NetFlow 1 to 8: tests/commands/test_decode.py."""
    frame = build.frame(datagram)
    short = build.record(frame[: 42 + kept], original=len(frame))
    done = decode(build.pcap(short, build.record(build.frame(netflow5(5)))))
    assert done.told == [f"in: packet 1: {reason}"]
    assert done.hosts == [5]


@pytest.mark.parametrize("number", [9, 10])
def test_questions_of_dns_are_no_exports(between, number):
    """Their first two octets are any number, and there is a zero where an exporter has its clock."""
    name = b"\3www\7example\3com\0\0\1\0\1"
    question = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + name
    extended = struct.pack("!6H", number, 0x100, 1, 0, 0, 1) + name + b"\0\0\x29\x10\0\0\0\0\0\0\0"
    answer = struct.pack("!6H", number, 0x8180, 1, 1, 0, 0) + name + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x5d\xb8\xd8\x22"
    root = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + b"\0\0\2\0\1"
    done = between(question, extended, answer, root)
    assert (done.status, done.lines, done.counts["other_packets"]) == (0, [], 4)


@pytest.mark.parametrize("seconds", [0, 77_777])
def test_exporters_whose_clock_counts_from_their_start(between, seconds):
    done = between(ipfix(TEMPLATE, rows(7), seconds=seconds), calling_itself(0, ipfix(rows(8), seconds=seconds)))
    assert done.hosts == [7, 8]
    assert done.told == ["in: packet 6: IPFIX message that calls itself 0 octets long, and has 32"]


# --- 2. NetFlow 5


@pytest.mark.parametrize("count", [3, 30, 31, 65535])
def test_netflow5_announces_more_than_is_there(between, count):
    done = between(netflow5(5, 6, count=count))
    assert done.hosts == [5, 6]
    assert done.reasons == [f"the count in the header is wrong; 2 of {count} announced flows are there"]


def test_netflow5_announces_nothing(between):
    done = between(netflow5(5, 6, count=0))
    assert (done.lines, done.reasons) == ([], ["the NetFlow 5 header announces no flows; 96 octets follow it"])


def test_netflow5_announces_less_than_is_there(between):
    done = between(netflow5(5, 6, 7, count=2))
    assert done.hosts == [5, 6]


def test_netflow5_announces_less_than_is_there_and_that_is_told(between):
    assert len(between(netflow5(5, 6, 7, count=2)).told) == 1


@pytest.mark.parametrize("count", [31, 100])
def test_netflow5_of_more_records_than_the_book_allows(between, count):
    done = between(netflow5(*[5] * count))
    assert (done.hosts, done.told) == ([5] * count, [])


# --- 3. NetFlow 9 counts


@pytest.mark.parametrize("count", [0, 1, 2, 3, 65535])
def test_netflow9_counts_are_not_believed(between, count):
    """The count is of records, and exporters put in sets, flows, or anything; lengths alone say what is there."""
    done = between(netflow9(TEMPLATE9, rows(5, 6), rows(7), count=count, domain=2))
    assert (done.hosts, done.told) == ([5, 6, 7], [])


@pytest.mark.parametrize("count", [0, 1, 9, 65535])
def test_netflow9_counts_that_lie_lose_nothing(between, count):
    datagrams = [netflow9(rows(7), count=count, sequence=number, domain=2) for number in range(1, 20)]
    done = between(netflow9(TEMPLATE9, rows(7), count=count, domain=2), *datagrams)
    assert (done.hosts, done.told, done.counts["lost"]) == ([7] * 20, [], 0)


# --- 4. IPFIX lengths


@pytest.mark.parametrize("length", [0, 1, 15, 17, 51, 53, 1400, 65535])
def test_an_ipfix_length_that_lies(between, length):
    assert len(MESSAGE) == 52
    done = between(calling_itself(length, MESSAGE))
    assert done.hosts == [7]
    assert done.reasons == [f"IPFIX message that calls itself {length} octets long, and has 52"]


@pytest.mark.parametrize("octets", [1, 3, 40])
def test_zeroes_after_an_ipfix_message(between, octets):
    done = between(MESSAGE + bytes(octets))
    assert done.hosts == [7]
    assert done.reasons == [f"IPFIX message that calls itself 52 octets long, and has {52 + octets}"]


def test_junk_after_an_ipfix_message(between):
    done = between(MESSAGE + b"junkjunk")
    assert done.hosts == [7]
    assert done.reasons[0] == "IPFIX message that calls itself 52 octets long, and has 60"


def test_several_ipfix_messages_in_a_datagram(between):
    """Against the book, but nothing of them is lost, so nothing is told: tests/hostile/README.md."""
    parts = (ipfix(TEMPLATE, rows(7), domain=2), ipfix(rows(8, 9), sequence=1, domain=2), ipfix(sequence=3, domain=2))
    done = between(b"".join(parts))
    assert (done.hosts, done.told, done.counts["lost"]) == ([7, 8, 9], [], 0)


@pytest.mark.parametrize("length", [2, 4, 15])
def test_a_second_ipfix_message_without_a_whole_header(between, length):
    done = between(MESSAGE + MESSAGE[:length])
    assert (done.hosts, done.reasons) == ([7], [f"IPFIX header cut short: {length} of 16 octets"])


def test_a_second_ipfix_message_cut_short(between):
    done = between(MESSAGE + ipfix(rows(8, 9))[:-4])
    assert done.hosts == [7, 8]
    assert done.reasons == [
        "IPFIX message that calls itself 44 octets long, and has 40",
        "set of 28 octets where 24 are left",
    ]


# --- 5. sets


@pytest.mark.parametrize("length", range(4))
@pytest.mark.parametrize("number", [0, 1, 2, 3, 256, 300])
@pytest.mark.parametrize("kind", ["ipfix", "netflow9"])
def test_a_set_of_impossible_length(between, kind, number, length):
    bad = struct.pack("!HH", number, length) + rows(8)
    done = between(ipfix(TEMPLATE, rows(7), bad) if kind == "ipfix" else netflow9(TEMPLATE9, rows(7), bad))
    assert (done.hosts, done.reasons) == ([7], [f"set of impossible length {length}"])


@pytest.mark.parametrize("kind", ["ipfix", "netflow9"])
def test_zeroes_where_sets_belong(between, kind):
    """ipfixcol's header-and-zeros: padding and nothing else."""
    done = between(ipfix(bytes(40)) if kind == "ipfix" else netflow9(bytes(40)))
    assert (done.lines, done.told) == ([], [])


@pytest.mark.parametrize("length", [41, 400, 65535])
def test_a_set_that_reaches_beyond_its_message(between, length):
    bad = struct.pack("!HH", 300, length) + rows(8, 9)[4:]
    done = between(ipfix(TEMPLATE, rows(7), bad))
    assert (done.hosts, done.reasons) == ([7, 8, 9], [f"set of {length} octets where 28 are left"])


def test_a_template_set_that_reaches_beyond_its_message(between):
    bad = struct.pack("!HH", 2, 400) + build.OTHER[4:]
    done = between(ipfix(TEMPLATE, rows(7), bad), ipfix(rows(8, number=301)))
    assert (done.hosts, done.reasons) == ([7, 8], ["set of 400 octets where 20 are left"])


@pytest.mark.parametrize("octets", [0, 1, 11])
def test_a_set_that_does_not_hold_a_record(between, octets):
    done = between(ipfix(TEMPLATE, data(300, build.row()[:octets]), rows(8)))
    assert done.hosts == [8]


def test_a_set_that_does_not_hold_a_record_is_told(between):
    assert len(between(ipfix(TEMPLATE, data(300, build.row()[:11]), rows(8))).told) == 1


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("kind", "number"),
    [("ipfix", number) for number in (0, 1, 4, 5, 100, 255)] + [("netflow9", number) for number in (2, 3, 4, 100, 255)],
)
def test_sets_of_reserved_numbers(between, kind, number, first):
    """0 and 1 are of NetFlow 9, 2 and 3 of IPFIX."""
    bad = data(number, build.row(9)) if number else data(-1, build.row(9))
    sets = [TEMPLATE if kind == "ipfix" else TEMPLATE9, rows(7)]
    sets.insert(0 if first else 1, bad)
    done = between(ipfix(*sets) if kind == "ipfix" else netflow9(*sets))
    assert (done.hosts, done.reasons) == ([7], [f"set of unknown kind {number}"])


@pytest.mark.parametrize(("rest", "hosts"), [(bytes(20), [7]), (b"\0\0\0\3" + bytes(20), [])])
def test_a_reserved_number_first_and_something_after_the_last_set(between, rest, hosts):
    """Where no length of NetFlow 9 is to be believed, nothing tells it from other protocols."""
    done = between(netflow9(data(100, b""), TEMPLATE9, rows(7)) + rest)
    assert (done.hosts, len(done.told), done.counts["other_packets"]) == (hosts, len(hosts), 1 - len(hosts))


def test_templates_of_the_other_protocol(between):
    done = between(ipfix(template9(300, build.FIELDS), rows(7)))
    assert (done.lines, done.reasons) == ([], ["set of unknown kind 0", never_came()])
    done = between(netflow9(template(300, build.FIELDS), rows(7)))
    assert (done.lines, done.reasons) == ([], ["set of unknown kind 2", never_came(source="netflow9")])


# --- 6. padding


@pytest.mark.parametrize("size", [1200, 1408])
def test_zeroes_up_to_a_fixed_size(between, size):
    whole = netflow9(TEMPLATE9, rows(7))
    done = between(whole + bytes(size - len(whole)))
    assert (done.hosts, done.told) == ([7], [])
    done = between(ipfix(TEMPLATE, rows(7), bytes(size - 52)))
    assert (done.hosts, done.told) == ([7], [])


@pytest.mark.parametrize("octets", [1, 3, 4, 7, 11])
def test_padding_shorter_than_a_record(between, octets):
    padded = data(300, build.row(7) + bytes(octets))
    done = between(ipfix(TEMPLATE, padded, rows(8)), netflow9(TEMPLATE9, padded, rows(8)))
    assert (done.hosts, done.told) == ([7, 8] * 2, [])


def test_padding_longer_than_a_record_is_records(between):
    """24 to 36 zeroes of NX-OS (nfdump#56) cannot be told from records of zeroes, if the records are that short."""
    done = between(netflow9(TEMPLATE9, data(300, build.row(7) + bytes(36)), rows(8)))
    assert (done.hosts, done.told) == ([7, 0, 0, 0, 8], [])


@pytest.mark.parametrize("octets", [1, 2, 3])
def test_padding_after_records_of_variable_length(between, octets):
    """Up to the next multiple of four octets; more zeroes than that may be records."""
    name = b"abcdef"[octets:]
    content = build.variable(name) + b"\6" + bytes(octets)
    done = between(ipfix(template(300, [(371, build.VARIABLE), (4, 1)]), data(300, content)))
    assert ([line["user"] for line in done.lines], done.told) == ([name.decode()], [])


@pytest.mark.parametrize("octets", [b"abc", b"\0\0\1"])
def test_padding_that_is_not_zero(between, octets):
    padded = data(300, build.row(7) + octets)
    done = between(netflow9(TEMPLATE9, padded, rows(8)))
    assert (done.hosts, done.told) == ([7, 8], [])
    assert between(ipfix(TEMPLATE, padded, rows(8))).hosts == [7, 8]


def test_padding_of_ipfix_that_is_not_zero_is_told(between):
    assert len(between(ipfix(TEMPLATE, data(300, build.row(7) + b"abc"), rows(8))).told) == 1


def test_octets_after_the_last_set(between):
    done = between(netflow9(TEMPLATE9, rows(7)) + b"abc", ipfix(TEMPLATE, rows(8), b"\0\0\0"))
    assert (done.hosts, done.told) == ([7, 8], [])
