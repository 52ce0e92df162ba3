"""Which streams there are, and what is missing in them."""

from overflowd_tools.protocols import accounting
from overflowd_tools.protocols.accounting import Accounts, StreamKey, all_streams, statistics
from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.protocols.lines import Decoded
from overflowd_tools.protocols.netflow import NETFLOW5
from overflowd_tools.protocols.templates import FlowBatch
from tests.protocols import set_builders as build

HERE, THERE = b"\xc0\0\2\1", b"\xc0\0\2\2"


def batch(sequence: int | None, *, flows: int = 10, domain: int = 0, source: str = "netflow5") -> FlowBatch:
    envelope = {} if sequence is None else {"seq": sequence}
    return FlowBatch(source, NETFLOW5, b"", domain, 0, 0, 1, envelope, flows)


def sflow(sequence: int, agent: str) -> Decoded:
    return Decoded("sflow5", 0, {"agent": agent}, {"seq": sequence, "uptime_ms": 1}, [], [])


def test_flows_are_counted_by_exporter_and_engine():
    accounts = Accounts()
    assert [accounts.batch(batch(number), HERE) for number in (0, 10, 25)] == [0, 0, 5]
    assert [accounts.batch(batch(number, domain=1), HERE) for number in (700, 710)] == [0, 0]
    assert [accounts.batch(batch(number), THERE) for number in (9, 19)] == [0, 0]
    lost = {key: stream.lost for key, stream in accounts.streams()}
    assert list(lost.values()) == [5, 0, 0]
    assert StreamKey("netflow5", HERE, None, 1) in lost


def test_each_aggregation_has_its_numbers():
    accounts = Accounts()
    for number, scheme in ((0, 1), (500, 2), (10, 1), (510, 2)):
        flows = batch(number, source="netflow8")
        assert accounts.batch(flows._replace(envelope={"seq": number, "aggregation": scheme}), HERE) == 0
    assert [statistics(*stream)["aggregation"] for stream in accounts.streams()] == [1, 2]


def test_a_protocol_without_numbers_has_its_messages_counted():
    accounts = Accounts()
    assert [accounts.batch(batch(None, source="netflow1"), HERE) for _ in range(3)] == [0, 0, 0]
    [(_, stream)] = accounts.streams()
    assert (stream.messages, stream.lost, stream.unknown) == (3, 0, 0)


def test_datagrams_of_sflow_are_counted_by_agent():
    accounts = Accounts()
    assert [accounts.decoded(sflow(number, "192.0.2.8"), HERE) for number in (5, 6, 9)] == [0, 0, 2]
    assert accounts.decoded(sflow(77, "192.0.2.9"), HERE) == 0
    [(key, stream), _] = accounts.streams()
    assert statistics(key, stream) == {
        "domain": 0,
        "agent": "192.0.2.8",
        "messages": 3,
        "lost": 2,
        "reordered": 0,
        "restarted": 0,
        "unknown": 0,
    }


def test_the_first_of_too_many_streams_is_forgotten(monkeypatch):
    monkeypatch.setattr(accounting, "STREAMS", 2)
    accounts = Accounts()
    for domain in range(3):
        accounts.batch(batch(0, domain=domain), HERE)
    assert [key.domain for key, _ in accounts.streams()] == [1, 2]


def test_sessions_are_streams_too_once_they_were_heard():
    decoder = Decoder()
    assert [*all_streams(Accounts(), decoder.exporters)] == []
    list(decoder.messages(build.ipfix(domain=7), (HERE, 4739, 0)))
    list(decoder.messages(build.ipfix(domain=7, sequence=3), (HERE, 4739, 0)))
    decoder.known().session(build_export(8))
    accounts = Accounts()
    accounts.batch(batch(0), HERE)
    [(first, _), (key, stream)] = all_streams(accounts, decoder.exporters)
    assert first.source == "netflow5"
    assert key == StreamKey("ipfix", HERE, 4739, 7)
    assert statistics(key, stream) == {
        "domain": 7,
        "exporter_port": 4739,
        "messages": 2,
        "lost": 3,
        "reordered": 0,
        "restarted": 0,
        "unknown": 0,
    }


def build_export(domain: int):
    from overflowd_tools.protocols.survey import named

    return named("ipfix", HERE, 4739, domain)
