"""Records of NetFlow 9 and IPFIX as lines to be: flows, options and templates."""

from __future__ import annotations

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import options
from overflowd_tools.protocols.announced import SCOPE_ENTERPRISE, VARIABLE
from overflowd_tools.protocols.exporters import Batch, DataSet, Row
from overflowd_tools.protocols.layouts import Layout, Record
from overflowd_tools.protocols.sessions import Export, Session
from overflowd_tools.protocols.simple import BOOT
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.protocols.times import ENDS, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SCOPE_ELEMENTS = {(SCOPE_ENTERPRISE, 2): 10, (SCOPE_ENTERPRISE, 5): 145}
"""Scopes of NetFlow 9 that are elements of IANA's: interface and template."""


def flow_row(
    session: Session, export: Export, layout: Layout, octets: list[bytes], configured_rate: float | None
) -> Row:
    """Return the row of one flow record."""
    record = Record(layout, octets, session.lists)
    fields = record.fields
    rate = configured_rate or options.rate(record.numbers) or session.options.rate(record.numbers, layout.number)
    if rate is not None and rate != 1:
        fields["sampling_rate"] = rate
    fields |= span(record.times, export.export_ms, export.uptime_ms, session.options.boot_ms)
    if record.reverse_times.keys() & ENDS:
        boot_ms = record.times.get(160, session.options.boot_ms)
        reverse = span(record.reverse_times, export.export_ms, export.uptime_ms, boot_ms)
        fields |= {f"r_{name}": value for name, value in reverse.items()}
    return Row("flow", export, record.members())


def flow_batches(session: Session, data: DataSet, configured_rate: float | None) -> list[Batch] | None:
    """Return the flows of a data set in batches, or None if its records have to be looked at one by one."""
    export, layout, content = data
    simple, told = layout.simple, session.options
    if simple is None or layout.length is None or not simple.is_worth(len(content) // layout.length):
        return None
    records = content[: len(content) // layout.length * layout.length]
    batches = []
    for alike in simple.alike(records, by_interface=told.by_interface):
        boot_ms = told.boot_ms if alike.boot_ms is None else alike.boot_ms
        uptime_ms, clock = export.uptime_ms, simple.clock(export.uptime_ms, boot_ms)
        if clock == BOOT and boot_ms is not None:
            uptime_ms = export.export_ms - boot_ms & 0xFFFFFFFF
        template = simple.template(clock, alike.hidden)
        if template is None:
            return None
        rate = configured_rate or 1
        if not configured_rate and (alike.numbers or len(told)):
            rate = options.rate(alike.numbers) or told.rate(alike.numbers, layout.number) or 1
        count = len(alike.records) // layout.length
        start = export.source, template, alike.records, export.domain, export.export_ms
        # What FlowBatch() does, in a third of the time.
        flows = tuple.__new__(FlowBatch, (*start, uptime_ms, rate, export.envelope, count, 0, 0))
        batches.append(Batch("flow", export, flows))
    return batches


def option_row(session: Session, export: Export, layout: Layout, octets: list[bytes]) -> Row:
    """Return the row of an option record: `scope` and `option`, by name of element."""
    scope: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for index, (member, raw) in enumerate(zip(layout.members, octets, strict=True)):
        shown = layout.shown(index, raw, session.lists)
        if shown is None:
            continue
        part = scope if index < layout.scopes else told
        part[member.key if member.key not in part else f"{member.key}#{index}"] = shown
    return Row("option", export, {"template": layout.number, "scope": scope, "option": told})


def option_values(layout: Layout, octets: list[bytes]) -> tuple[dict[int, int | float], frozenset[int]]:
    """Return the numbers in an option record by IANA's element, and which elements are scopes."""
    values: dict[int, int | float] = {}
    scopes = set()
    for index, (member, raw) in enumerate(zip(layout.members, octets, strict=True)):
        number = _SCOPE_ELEMENTS.get(member.specifier[:2], member.number)
        shown = layout.number_of(index, raw) if number else None
        if shown is not None:
            values[number] = shown
            if index < layout.scopes:
                scopes.add(number)
    return values, frozenset(scopes)


def template_row(export: Export, layout: Layout, event: str) -> Row:
    """Return the row of a template that was learned or withdrawn; lengths that records tell themselves are absent."""
    fields: list[dict[str, Any]] = [{"name": member.key} for member in layout.members]
    for field, specifier in zip(fields, layout.announced.fields, strict=True):
        if specifier.length != VARIABLE:
            field["length"] = specifier.length
    told: dict[str, Any] = {"template": layout.number, "event": event}
    if layout.options:
        told["scope"] = fields[: layout.scopes]
    return Row("template", export, {**told, "fields": fields[layout.scopes :]})


def checked_records(layout: Layout, content: bytes, problems: list[str]) -> Iterator[list[bytes]]:
    """Yield the records of a set; what is wrong with the rest becomes a problem."""
    try:
        yield from layout.records(content)
    except DecodeError as error:
        problems.append(str(error))
