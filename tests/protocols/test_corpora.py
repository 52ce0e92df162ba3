"""NetFlow 9 and IPFIX of real exporters: counts, and every field of every record as other programs read them."""

import json

import pytest

from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from tests.protocols import corpora, logstash, netgauze
from tests.protocols.corpora import ROOT, Shown, manifest, messages

pytestmark = pytest.mark.skipif(not manifest(), reason="OF_CORPORA is not set")

KNOWN_COUNTS = {
    # Data before their template; MANIFEST counts without keeping them, and says what they are when kept.
    "nprobe-netflow9-4.pcap": (15, 1),
    "PACKET_V9_TEMPLATE_MIXED.dat": (8, 0),
    "logstash_IPFIX_Netscaler_with_variable_length_fields_2.pcap": (6, 0),
}
"""Files of which MANIFEST.tsv tells other counts of flows and options."""

DERIVED = {"start_ms", "end_ms", "time_src", "time_suspect", "sampling_rate", "seq_lost"}
"""Members that are worked out, not sent."""

LOGSTASH = sorted(ROOT.glob("logstash-plugins+logstash-codec-netflow/golden/*.json"))
NO_EVENTS = {
    "IPFIX_Netscaler_with_variable_length_fields_2": "expects the template cache, not events",
    "IPFIX_Netscaler_with_variable_length_fields_missing_templates": "nothing but data without templates",
    "Netflow_9_Cisco_ASR1001_X": "tells no events",
    "Netflow_9_Cisco_WLC_8500_release_8_2": "tells no events",
    "Netflow_9_invalid_01": "is no NetFlow",
}
"""Goldens of logstash without anything to compare."""
KNOWN_WRONG = {
    ("IPFIX_from_IXIA_something_something", "ixiaLatency"): "a field of no octets, which the codec reads as 0",
    ("IPFIX_from_IXIA_something_something", "ixiaL7AppId"): "a field of no octets, which the codec reads as 0",
}
"""Fields of goldens of logstash that are not what was sent; besides, all times from sysUptime: see LATE_MS."""

NETGAUZE = sorted(ROOT.glob("NetGauze+NetGauze/assets/pcaps/pmacct-tests/*/traffic-*-flow.json"))


@pytest.mark.parametrize("row", manifest(), ids=lambda row: row["file"])
def test_counts(row):
    rows = corpora.rows(ROOT / row["file"])
    kinds = [row.type for row in rows]
    expected = int(row["flow_records"]), int(row["option_records"] or 0)
    expected = KNOWN_COUNTS.get(row["file"].rpartition("/")[2], expected)
    assert (kinds.count("flow"), kinds.count("option")) == expected


def capture_of(golden):
    return ROOT / "pmacct+pmacct/tests" / golden.parent.name / golden.name.replace("-flow.json", ".pcap")


def records(golden: dict) -> tuple[list[dict], list[dict]]:
    """The option records and the flow records of a message."""
    found = [record for each in golden["sets"] if "Data" in each for record in each["Data"]["records"]]
    return [one for one in found if one["scope_fields"]], [one for one in found if not one["scope_fields"]]


@pytest.mark.parametrize("golden", NETGAUZE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_field_as_netgauze(golden):
    ours = list(messages(capture_of(golden)))
    theirs = [json.loads(line) for line in golden.read_text().splitlines()]
    assert len(ours) == len(theirs)
    compared, booted = 0, {}
    for message, told in zip(ours, theirs, strict=True):
        ((protocol, body),) = told.items()
        assert message.export.source == {"IPFIX": "ipfix", "NetFlowV9": "netflow9"}[protocol]
        assert message.export.envelope["seq"] == body["sequence_number"]
        assert message.export.domain == body.get("observation_domain_id", body.get("source_id"))
        options, flows = records(body)
        rows = {kind: [row.members for row in message.rows if row.type == kind] for kind in ("option", "flow")}
        assert (len(rows["option"]), len(rows["flow"])) == (len(options), len(flows))
        for members, record in zip(rows["option"], options, strict=True):
            assert_option(members, record)
        stream = message.export.exporter, message.export.port, message.export.domain
        for told_time in netgauze.found("systemInitTimeMilliseconds", options):
            booted[stream] = netgauze.milliseconds(told_time)
        for members, record in zip(rows["flow"], flows, strict=True):
            assert_flow(members, record["fields"])
            assert_times(members, record, body, booted.get(stream))
        compared += len(options) + len(flows)
    assert compared


def assert_option(members, record):
    for part, fields in (("scope", record["scope_fields"]), ("option", record["fields"])):
        told = {key: value for _, key, value in netgauze.elements(fields)}
        assert {key: value for key, value in members[part].items() if key != "paddingOctets"} == told


def assert_flow(members, fields):
    shown = Shown(members)
    stack = netgauze.labels(fields)
    if stack:
        assert shown.take("mpls", "", stack)
    for field, key, value in netgauze.elements(fields):
        if netgauze.is_label(key):
            continue
        if key.startswith("icmpTypeCode") and "icmp_type" in shown.fields:
            assert shown.take_icmp(value)
            continue
        assert shown.take(field, key, value), (key, value, members)
    left = shown.left()
    if members.get("protocol") in (1, 58) and "icmp_type" in left:
        assert (left.pop("icmp_type"), left.pop("icmp_code")) == divmod(members["dport"], 256)
    assert left.keys() <= DERIVED, (left, fields)


@pytest.mark.parametrize("golden", LOGSTASH, ids=lambda path: path.name.removesuffix(".golden.json"))
def test_every_field_as_logstash(golden):
    name = golden.name.removesuffix(".golden.json")
    told = json.loads(golden.read_text())
    events = [event.get("netflow", event) for event in told["expected_events"]]
    events = [event for event in events if event.get("version") in (9, 10)]
    if name in NO_EVENTS or "flow_5" in name or "flow5" in name:
        assert not events
        return
    assert events
    rows = [row.members for row in corpora.rows(ROOT / f"replay/logstash_{name}.pcap")]
    assert len(rows) >= (told["expected_event_count"] or 1)
    for event in events:
        missing = min((not_shown(members, name, event) for members in rows), key=len)
        assert not missing


def not_shown(members: dict, golden: str, event: dict) -> set[str]:
    """The elements of an event that a line does not show."""
    if "scope" in members:
        members = {"ie": members["scope"] | members["option"]}
    shown = Shown(members)
    ends = {"first_switched": members.get("start_ms"), "last_switched": members.get("end_ms")}
    missing = set()
    for name in sorted(
        event.keys() - logstash.HEADER, key=lambda name: (logstash.place(name) is None, isinstance(event[name], str))
    ):
        value = logstash.told(name, event[name])
        if name in ends:
            found = ends[name] == value
        elif "cmpTypeCode" in name:
            found = shown.take_icmp(value, "r_" if name.startswith("reverse") else "")
        elif place := logstash.place(name):
            found = shown.take(*place, value)
        else:
            pair = next((pair for pair in shown.extra if logstash.is_shown_as(value, pair[1])), None)
            found = pair is not None
            if pair:
                shown.extra.remove(pair)
        if not found and (golden, name) not in KNOWN_WRONG:
            missing.add(name)
    return missing


def assert_times(members, record, body, booted):
    """Hold the times that are worked out from sysUptime against the clock of NetFlow 9's header, or IPFIX's 160."""
    if "stime" not in members:
        return
    booted = next(map(netgauze.milliseconds, netgauze.found("systemInitTimeMilliseconds", [record])), booted)
    if "sys_up_time" in body:
        booted = netgauze.milliseconds(body["unix_time"]) - body["sys_up_time"]
        assert "time_src" not in members
    else:
        assert members["time_src"] == ("export" if booted is None else "init160")
    if booted is None:
        assert members["start_ms"] == members["end_ms"] == netgauze.milliseconds(body["export_time"])
        return
    for name, uptime in (("start_ms", "stime"), ("end_ms", "etime")):
        assert (members[name] - booted - members[uptime]) % 2**32 == 0


@pytest.mark.parametrize("row", manifest(), ids=lambda row: row["file"])
def test_batches_render_as_their_rows(row):
    """What a template's generated function writes is what the record by itself says."""
    lines = {}
    for batches in (False, True):
        writer = FlowWriter(envelope=True)
        found = messages(ROOT / row["file"], how=How(batches=batches))
        lines[batches] = [json.loads(line) for message in found for line in writer.rows(message.rows)]
    assert lines[True] == lines[False]
