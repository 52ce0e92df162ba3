"""A record of both directions (RFC 5103) as two flows, for programs that know one direction only."""

from __future__ import annotations

from overflowd_tools.protocols.elements import CERT, CERT_REVERSE_BIT, IANA, REVERSE, ElementTable
from overflowd_tools.protocols.exporters import Batch, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

Members: TypeAlias = "dict[str, Any]"
_Pairs: TypeAlias = "list[tuple[str, Any]]"

_ENDS = (
    ("saddr", "daddr"),
    ("sport", "dport"),
    ("src_mask", "dst_mask"),
    ("src_as", "dst_as"),
    ("prev_as", "next_as"),
    ("in_if", "out_if"),
    ("vrf_in", "vrf_out"),
)
_CHANGED_ON_THE_WAY = (("vlan", "post_vlan"), ("cvlan", "post_cvlan"))
"""Swapped if both are there; a single one holds for both directions."""
_MACS_HERE = (("smac", "dmac"),)
_MACS_ON_THE_WAY = (("smac", "post_dmac"), ("dmac", "post_smac"))
_NAT_ENDS = (("saddr", "daddr"), ("sport", "dport"))
_OF_BOTH = frozenset(
    {
        *("protocol", "ip_version", "ethertype", "app_id", "app_name", "user", "ssid", "vrf_name", "end_reason"),
        *("sampling_rate", "sampler_id", "sampling_algo", "agent", "template"),
        *(name for pair in _CHANGED_ON_THE_WAY for name in pair),
    }
)
"""What holds for both directions; all else that has no r_ of its own tells of the forward one alone."""
_TIMES = ("start_ms", "end_ms", "start_ns", "end_ns", "time_src", "time_suspect")
_COUNTERS = ("pcount", "bcount", "pcount_total", "bcount_total", "post_pcount", "post_bcount", "l2_bcount")
_INITIATOR, _REVERSE_INITIATOR = 1, 2


def split_rows(rows: Iterable[Row | Batch], table: ElementTable) -> list[Row | Batch]:
    """Return the rows with flows of both directions taken apart; batches never hold such flows."""
    result: list[Row | Batch] = []
    for row in rows:
        if isinstance(row, Row) and row.type == "flow":
            result += (row._replace(members=members) for members in split(row.members, table))
        else:
            result.append(row)
    return result


def split(members: Members, table: ElementTable) -> list[Members]:
    """Return the forward and the reverse flow of a record, or its forward flow alone if nothing came back.

    In the reverse flow ends, interfaces, hardware addresses and VLANs are swapped, and r_ members stand in place of the
    forward ones. A record without members of the reverse direction comes back as it is.
    """
    there, back = _extra(members.get("ie", {}), table)
    reverse = {name[2:]: value for name, value in members.items() if name.startswith("r_")}
    if not reverse and not back:
        return [members]
    forward = {name: value for name, value in members.items() if not name.startswith("r_") and name != "ie"}
    _add_extra(forward, there)
    if not _anything(reverse, back):
        return [forward]
    return [forward, _turned(forward, reverse, back)]


def _turned(forward: Members, reverse: Members, extra: _Pairs) -> Members:
    turned = _swapped(forward, _ENDS)
    turned |= {name: forward[name] for name in forward if name in _OF_BOTH}
    turned |= _swapped(forward, [pair for pair in _CHANGED_ON_THE_WAY if set(pair) <= forward.keys()])
    on_the_way = "post_smac" in forward or "post_dmac" in forward
    turned |= _swapped(forward, _MACS_ON_THE_WAY if on_the_way else _MACS_HERE)
    nat = _swapped(forward.get("nat", {}), _NAT_ENDS)
    if nat:
        turned["nat"] = nat
    if "biflow_dir" in forward:
        told = forward["biflow_dir"]
        turned["biflow_dir"] = {_INITIATOR: _REVERSE_INITIATOR, _REVERSE_INITIATOR: _INITIATOR}.get(told, told)
    if "start_ms" not in reverse:
        turned |= {name: forward[name] for name in _TIMES if name in forward}
    turned |= reverse
    _add_extra(turned, extra)
    return turned


def _swapped(members: Members, pairs: Iterable[tuple[str, str]]) -> Members:
    names = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    return {names[name]: value for name, value in members.items() if name in names}


def _anything(reverse: Members, extra: _Pairs) -> bool:
    """Tell whether packets came back: by the counters, or without any by everything else but the times."""
    counters = [reverse[name] for name in _COUNTERS if name in reverse]
    if counters:
        return any(counters)
    return any(value for name, value in reverse.items() if name not in _TIMES) or any(value for _, value in extra)


def _extra(
    extra: Members | list[list[Any]], table: ElementTable
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Return the pairs of `ie` of the forward direction, and those of the reverse one under their forward names."""
    there, back = [], []
    for key, value in extra.items() if isinstance(extra, dict) else extra:
        name = _forward_key(key, table)
        if name:
            back.append((name, value))
        else:
            there.append((key, value))
    return there, back


def _forward_key(key: str, table: ElementTable) -> str:
    """Return the key that an element of the reverse direction has in the forward one; empty for all other elements."""
    enterprise, slash, number = key.partition("/")
    if not slash or not number.isdecimal():
        return ""
    if enterprise == str(REVERSE):
        return table.key(IANA, int(number))
    if enterprise == str(CERT) and int(number) & CERT_REVERSE_BIT:
        return table.key(CERT, int(number) & ~CERT_REVERSE_BIT)
    return ""


def _add_extra(members: Members, extra: _Pairs) -> None:
    if extra:
        as_object = dict(extra)
        members["ie"] = as_object if len(as_object) == len(extra) else [list(pair) for pair in extra]
