"""What NetGauze reads in captures (one JSON object a message), in our words."""

from datetime import datetime
from typing import Any

from overflowd_tools.protocols.elements import ElementTable

TABLE = ElementTable.standard()
BY_NAME = {element.name: element for element in TABLE if element.enterprise == 0}
HUAWEI = 2011

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_WORDS = {
    "flowDirection": {"ingress": 0, "egress": 1},
    "flowEndReason": {"idletimeout": 1, "activetimeout": 2, "endofFlowdetected": 3},
    "mplsTopLabelType": {"Unknown": 0, "BGP": 4, "LDP": 5},
    "protocolIdentifier": {"ICMP": 1, "IPv4": 4, "TCP": 6, "UDP": 17, "IPv6": 41, "IPv6ICMP": 58, "VRRP": 112},
    "selectorAlgorithm": {"RandomnoutofNSampling": 3},
}
_FORWARDING = {("Unknown", "Unassigned"): 0, ("Forwarded", "Unknown"): 64, ("Consumed", "Forus"): 195}
_LABELS = {
    name: number
    for number, name in enumerate(
        ["mplsTopLabelStackSection", *(f"mplsLabelStackSection{number}" for number in range(2, 11))]
    )
}
TIMES = {"flowStartMilliseconds": "start_ms", "flowEndMilliseconds": "end_ms"}


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def value(name: str, told: Any) -> Any:
    """Return a value of NetGauze's as we show it."""
    if name in _WORDS and isinstance(told, str):
        return _WORDS[name][told]
    if name == "tcpControlBits":
        return sum(told[flag] << bit for bit, flag in enumerate(_FLAGS))
    if name == "forwardingStatus":
        ((kind, reason),) = told.items()
        return _FORWARDING[kind, reason if isinstance(reason, str) else next(iter(reason))]
    if name == "flowDirection":
        return told["Unassigned"]
    element = BY_NAME[name]
    if element.type.startswith("dateTime"):
        return milliseconds(told)
    if name == "srhSegmentIPv6ListSection":
        assert told == []
        return told
    if element.type == "unsigned256":
        return str(int.from_bytes(bytes(told)))
    if element.type == "macAddress":
        return bytes(told).hex(":")
    if isinstance(told, list):
        return bytes(told).hex()
    return told.rstrip("\0") if isinstance(told, str) else told


def elements(fields: list[Any]) -> list[tuple[str, str, Any]]:
    """Return (our field, key in `ie`, value as we show it) of all fields of a record but padding."""
    found = []
    for field in fields:
        ((name, told),) = field.items()
        if name == "Huawei":
            unknown = told["Unknown"]
            found.append(("", TABLE.key(HUAWEI, unknown["id"]), bytes(unknown["value"]).hex()))
        elif name != "paddingOctets":
            found.append((TIMES.get(name, BY_NAME[name].field), name, value(name, told)))
    return found


def labels(fields: list[Any]) -> list[dict[str, int]]:
    """Return the stack of labels of a record."""
    entries = {}
    for field in fields:
        ((name, told),) = field.items()
        if name in _LABELS:
            high, middle, low = told
            entries[_LABELS[name]] = {"label": high << 12 | middle << 4 | low >> 4, "exp": low >> 1 & 7, "s": low & 1}
    return [entries[number] for number in sorted(entries)]


def is_label(name: str) -> bool:
    return name in _LABELS


def found(name: str, records: list[dict[str, list[Any]]]) -> list[Any]:
    """Return the values that an element has in records, as NetGauze shows them."""
    fields = [field for record in records for field in record["scope_fields"] + record["fields"]]
    return [field[name] for field in fields if name in field]
