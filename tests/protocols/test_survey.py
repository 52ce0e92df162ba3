"""Templates and options from anywhere in a capture: the first ones for what comes before them."""

import json
import struct

from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.records import FlowWriter
from tests.protocols import set_builders as build

ARRIVAL = (b"\xc0\0\2\1", 4739, 1)
TEMPLATE = build.template(256, build.FLOW)
SHORT = build.template(256, [(8, 4), (2, 4), (153, 8)])
SHORT_FLOW = bytes((198, 51, 100, 9)) + struct.pack("!IQ", 5, build.SECOND * 1000)
RATE = build.template(300, [(149, 4), (34, 4)], scopes=1)


def rate(number: int) -> bytes:
    return build.data(300, struct.pack("!II", 1, number))


def surveyed(*messages: bytes) -> Decoder:
    first = Decoder(survey=True)
    for message in messages:
        assert all(not [*decoded.rows] for decoded in first.decode(message, 0, ARRIVAL))
    decoder = Decoder()
    decoder.take_survey(first)
    return decoder


def flows(decoder: Decoder, *messages: bytes) -> list:
    decoded = (one for message in messages for one in decoder.messages(message, ARRIVAL))
    return [row for one in decoded for row in one.rows if row.type == "flow"]


def line(row) -> dict:
    """The line of a row, or of a batch of one flow."""
    [text] = FlowWriter().rows([row])
    return json.loads(text)


def test_data_before_their_template():
    messages = [build.ipfix(build.data(256, build.flow())), build.ipfix(TEMPLATE)]
    [batch] = flows(surveyed(*messages), messages[0])
    assert len(batch.flows.records) == len(build.flow())


def test_templates_hold_in_the_order_of_the_capture():
    messages = [
        build.ipfix(build.data(256, build.flow())),
        build.ipfix(TEMPLATE, build.data(256, build.flow())),
        build.ipfix(SHORT, build.data(256, SHORT_FLOW)),
    ]
    decoder = surveyed(*messages)
    found = flows(decoder, *messages)
    assert [line(row)["saddr"] for row in found] == ["198.51.100.1", "198.51.100.1", "198.51.100.9"]


def test_after_a_withdrawal_nothing_is_known():
    withdrawal = build.data(2, struct.pack("!HH", 256, 0))
    messages = [build.ipfix(TEMPLATE), build.ipfix(withdrawal), build.ipfix(build.data(256, build.flow()))]
    assert not flows(surveyed(*messages), *messages)


def test_the_first_sampling_rate_holds_before_it():
    messages = [
        build.ipfix(TEMPLATE, build.data(256, build.flow())),
        build.ipfix(RATE, rate(100)),
        build.ipfix(rate(200)),
        build.ipfix(build.data(256, build.flow())),
    ]
    found = flows(surveyed(*messages), *messages)
    assert [batch.flows.sampling_rate for batch in found] == [100, 200]


def test_the_first_boot_time_holds_before_it():
    boot = build.template(301, [(149, 4), (160, 8)], scopes=1)
    told = [build.data(301, struct.pack("!IQ", 1, build.SECOND * 1000 - back)) for back in (50_000, 10_000)]
    uptimes = build.template(256, [*build.KEYS, (22, 4), (21, 4)])
    record = build.flow()[:13] + struct.pack("!II", 20_000, 30_000)
    messages = [build.ipfix(uptimes, build.data(256, record)), build.ipfix(boot, told[0]), build.ipfix(told[1])]
    [row] = flows(surveyed(*messages), messages[0])
    assert line(row)["start_ms"] == build.SECOND * 1000 - 30_000
    assert line(row)["time_src"] == "init160"


def test_what_is_known_already_stays():
    first = Decoder(survey=True)
    for message in (build.ipfix(SHORT), build.ipfix(RATE, rate(7))):
        first.decode(message, 0, ARRIVAL)
    decoder = Decoder()
    flows(decoder, build.ipfix(TEMPLATE, RATE, rate(100)))
    decoder.take_survey(first)
    [batch] = flows(decoder, build.ipfix(build.data(256, build.flow())))
    assert batch.flows.sampling_rate == 100


def test_other_protocols_have_nothing_to_tell():
    first = Decoder(survey=True)
    assert first.decode(struct.pack("!HHIIIIHH", 5, 0, 1, build.SECOND, 0, 0, 0, 0), 0, ARRIVAL) is None
    decoder = Decoder()
    decoder.take_survey(first)
    assert not [*decoder.known().sessions()]


def test_exporters_teach_each_other_nothing():
    first = Decoder(survey=True)
    first.decode(build.ipfix(TEMPLATE), 0, ARRIVAL)
    decoder = Decoder()
    decoder.take_survey(first)
    [message] = decoder.messages(build.ipfix(build.data(256, build.flow())), (b"\xc0\0\2\2", 4739, 1))
    assert message.unknown == [256]
