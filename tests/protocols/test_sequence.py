"""Sequence numbers: what was lost, what came late, who began anew, and who counts what."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.sequence import Stream
from tests.protocols.set_builders import HERE, data, send, send9, template, template9

WHOLE = 1 << 32


def heard(*numbered: tuple[int, int | None]) -> tuple[Stream, list[int]]:
    """A stream of messages of so many records, and what is lost before each."""
    stream = Stream()
    return stream, [stream.records(number % WHOLE, count) for number, count in numbered]


def summary(stream: Stream) -> tuple[int, int, int, int]:
    return stream.lost, stream.reordered, stream.restarted, stream.unknown


@pytest.mark.parametrize("first", [0, 1, WHOLE - 5, WHOLE - 1])
def test_nothing_is_lost(first):
    stream, lost = heard((first, 5), (first + 5, 1), (first + 6, 0), (first + 6, 30))
    assert lost == [0, 0, 0, 0]
    assert summary(stream) == (0, 0, 0, 0)
    assert stream.messages == 4


@pytest.mark.parametrize("first", [0, WHOLE - 12])
def test_a_gap(first):
    stream, lost = heard((first, 5), (first + 12, 5), (first + 17, 5))
    assert lost == [0, 7, 0]
    assert summary(stream) == (7, 0, 0, 0)


@pytest.mark.parametrize("first", [0, WHOLE - 12])
def test_a_message_that_comes_late_was_not_lost(first):
    stream, lost = heard((first, 5), (first + 10, 5), (first + 5, 5), (first + 15, 5))
    assert lost == [0, 5, 0, 0]
    assert summary(stream) == (0, 1, 0, 0)


def test_a_copy_is_late_too():
    stream, lost = heard((0, 5), (0, 5), (5, 5))
    assert lost == [0, 0, 0]
    assert summary(stream) == (0, 1, 0, 0)


def test_what_cannot_be_counted():
    """A data set without template: the next number is what it is, and no loss is made up."""
    stream, lost = heard((0, 5), (5, None), (900, 5), (905, 5))
    assert lost == [0, 0, 0, 0]
    assert summary(stream) == (0, 0, 0, 1)
    stream, lost = heard((0, 5), (7, None), (900, 5))
    assert lost == [0, 2, 0]


def test_an_exporter_that_begins_anew():
    stream, lost = heard((5_000_000, 5), (0, 5), (5, 5), (11, 5))
    assert lost == [0, 0, 0, 1]
    assert summary(stream) == (1, 0, 1, 0)


def test_a_great_gap():
    stream, lost = heard((0, 5), (50_000, 5), (50_005, 5))
    assert lost == [0, 49_995, 0]
    assert summary(stream) == (49_995, 0, 0, 0)


def test_cards_with_a_counter_each():
    """Two line cards of a router under one source identifier: what goes on where it was left was no loss."""
    messages = [(number, 1) for pair in range(50) for number in (1000 + pair, 9_000_000 + pair)]
    stream, lost = heard(*messages)
    assert sum(lost[2:]) == 0
    assert summary(stream) == (0, 0, 0, 0)
    assert summary(heard(*messages, (1053, 1))[0]) == (3, 0, 0, 0)


def test_more_counters_than_are_remembered():
    stream, _ = heard(*((card * 1_000_000, 1) for card in range(9)), (1, 1))
    assert stream.lost + stream.restarted > 0


def test_netflow_9_counts_datagrams():
    stream = Stream()
    assert [stream.datagrams(number, 30) for number in (7, 8, 9, 12, 13)] == [0, 0, 0, 2, 0]
    assert stream.lost == 2


def test_netflow_9_that_counts_flows():
    """softflowd does; a step as large as the records of the datagram before shows it."""
    stream = Stream()
    assert [stream.datagrams(number, 30) for number in (0, 30, 60, 90)] == [0, 0, 0, 0]
    assert stream.datagrams(150, 30) == 30
    assert summary(stream) == (30, 0, 0, 0)


def test_flows_of_both_directions_count_once():
    """One flow is two records, or the datagram has templates too: up to half as many is no message that comes late."""
    stream = Stream()
    assert [stream.datagrams(number, 30) for number in (0, 15, 35, 50)] == [0, 0, 0, 0]
    assert summary(stream) == (0, 0, 0, 0)


def test_datagrams_without_records():
    stream = Stream()
    assert [stream.datagrams(number, 0) for number in (4, 5, 6)] == [0, 0, 0]
    assert [stream.datagrams(number, 1) for number in (7, 8, 10)] == [0, 0, 1]


def test_netflow_9_out_of_order():
    stream = Stream()
    assert [stream.datagrams(number, 30) for number in (1, 2, 4, 3, 5)] == [0, 0, 1, 0, 0]
    assert summary(stream) == (0, 1, 0, 0)


@given(
    some.integers(0, WHOLE - 1),
    some.lists(some.tuples(some.integers(1, 60), some.booleans()), min_size=3, max_size=60),
)
def test_losses_add_up(first, messages):
    """All that is lost between messages that come, in their order, is told, once."""
    messages = [(messages[0][0], True), *messages[1:-1], (messages[-1][0], True)]
    number, stream, lost, run = first, Stream(), 0, 0
    for count, arrives in messages:
        if arrives:
            expected, run = run, 0
            assert stream.records(number, count) == expected
            lost += expected
        elif run + count > 1000:  # further away it is a jump
            continue
        else:
            run += count
        number = number + count & 0xFFFFFFFF
    assert summary(stream) == (lost, 0, 0, 0)


@given(some.randoms(use_true_random=False), some.integers(5, 40), some.integers(1, 30))
def test_a_shuffled_neighbourhood_loses_nothing(source: random.Random, many, count):
    """Every message comes, none more than three places from its own: in the end nothing is lost."""
    order = sorted(range(many), key=lambda place: place + source.random() * 3)
    order = [0, *(place for place in order if place)]
    stream = Stream()
    for place in order:
        stream.records(WHOLE - 7 + place * count & 0xFFFFFFFF, count)
    assert stream.lost == 0


# In messages

FLOW = [(8, 4), (2, 4)]
RECORD = b"\xc0\0\2\7\0\0\0\1"


def test_ipfix_counts_records_of_options_too():
    """Finding 7: 582 of 582 steps of a router match so, 478 if its options are left out."""
    exporters = Exporters()
    options = template(257, [(149, 4), (34, 4)], scopes=1), data(257, bytes(16))
    send(exporters, template(256, FLOW), *options, data(256, RECORD * 3), sequence=100)
    [row] = send(exporters, data(256, RECORD), sequence=105).rows
    assert "seq_lost" not in row.members
    rows = send(exporters, data(256, RECORD * 2), sequence=109).rows
    assert [row.members.get("seq_lost") for row in rows] == [3, None]


def test_templates_do_not_count():
    exporters = Exporters()
    send(exporters, template(256, FLOW), template(258, FLOW), sequence=100)
    [row] = send(exporters, data(256, RECORD), sequence=100).rows
    assert "seq_lost" not in row.members


def test_a_data_set_without_template_is_no_loss():
    exporters = Exporters()
    send(exporters, template(256, FLOW), data(256, RECORD), sequence=0)
    send(exporters, data(999, bytes(100)), data(256, RECORD), sequence=1)
    [row] = send(exporters, data(256, RECORD), sequence=50).rows
    assert "seq_lost" not in row.members
    [(_, session)] = exporters.sessions()
    assert summary(session.stream) == (0, 0, 0, 1)


def test_streams_are_apart():
    """By address, port, domain and protocol (finding 6)."""
    exporters = Exporters()
    for number, (source, domain) in enumerate([(HERE, 1), (HERE, 2), ((HERE[0], 1, 0), 1), ((b"\xc0\0\2\2", 1, 0), 1)]):
        for step in (0, 1):
            [row] = send(
                exporters,
                template(256, FLOW),
                data(256, RECORD),
                source=source,
                domain=domain,
                sequence=number * 7000 + step,
            ).rows
            assert "seq_lost" not in row.members
    [row] = send9(exporters, template9(256, FLOW), data(256, RECORD), sequence=9).rows
    assert "seq_lost" not in row.members
    assert len(list(exporters.sessions())) == 5


def test_the_first_flow_tells_what_was_lost_before():
    exporters = Exporters()
    for sequence, expected in ((5, None), (6, None), (9, 2)):
        told = template9(256, FLOW), data(256, RECORD * 2), data(256, RECORD)
        rows = send9(exporters, *told, sequence=sequence, count=4).rows
        assert [row.members.get("seq_lost") for row in rows] == [expected, None, None]


@given(
    some.integers(0, WHOLE - 1),
    some.sampled_from([None, 0, 1, 29]),
    some.sampled_from([1, 12]),
    some.sampled_from([1, 12, 29]),
    some.integers(1, 40),
    some.integers(0, 3),
)
def test_messages_passed_over_together(first, announced, records, jump, messages, after):
    """They leave a stream as they do one by one, whatever comes before and after."""
    one_by_one, together = Stream(), Stream()

    def take(stream: Stream, number: int) -> int:
        return stream.records(number, records) if announced is None else stream.datagrams(number, announced)

    for index in range(3):  # after which it may show what the numbers count
        for stream in (one_by_one, together):
            take(stream, (first + index * jump) % WHOLE)
    assert together.expected is not None
    step = together.step(records, announced)
    numbers = [(together.expected + index * step) % WHOLE for index in range(messages)]
    assert [take(one_by_one, number) for number in numbers] == [0] * messages
    together.pass_over(messages, records, announced)
    for later in (0, -step, 5, after, 70_000):
        assert state(together) == state(one_by_one)
        assert one_by_one.expected is not None
        number = (one_by_one.expected + later) % WHOLE
        assert take(together, number) == take(one_by_one, number)


def state(stream: Stream) -> dict[str, object]:
    return {name: getattr(stream, name) for name in Stream.__slots__}
