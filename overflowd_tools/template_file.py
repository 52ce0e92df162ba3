"""The file of of-decode --templates: what exporters announced, kept from one run to the next.

It has JSON lines. The first says what file it is. Then comes a line for each template of a session, and for what the
options of an exporter's domain told, the least recently heard first.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton

from overflowd_tools.errors import DecodeError, RecordError, UsageError
from overflowd_tools.json_lines import flow_line, parse_line
from overflowd_tools.protocols.announced import MAX_FIELDS, SCOPE_ENTERPRISE, Announced, Specifier, checked
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.survey import named
from overflowd_tools.rendering import address_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LIMIT = 1 << 22
"""Octets of a file; of more, what was heard of last is kept."""
AGE_S = 7 * 86_400
"""What is older is forgotten. RFC 7011 section 8.4 wants templates repeated within minutes or hours."""

_FORMAT = "overflowd_templates"
_VERSION = 1
_SOURCES = ("netflow9", "ipfix")
_ABOUT = ("sampler", "interface", "template", "domain")
_MOST_RATE = 1 << 53
_U16, _U32, _U64 = 0xFFFF, 0xFFFFFFFF, (1 << 64) - 1


def save(exporters: Exporters, now_s: int) -> bytes:
    """Return the contents of the file. now_s: Unix time, up to which all was good that was announced in this run."""
    first = flow_line({_FORMAT: _VERSION})
    kept: list[bytes] = []
    size = len(first)
    for line in _newest_first(exporters, now_s):
        size += len(line)
        if size > LIMIT:
            break
        kept.append(line)
    return b"".join([first, *reversed(kept)])


def load(path: str, data: bytes, exporters: Exporters, now_s: int) -> list[tuple[str, str]]:
    """Teach exporters what a file knows and is not too old; return (place, reason) of each line that is damaged.

    An empty file is a new one. Raises UsageError for one that is not of this kind, and never to be overwritten.
    """
    if not data:
        return []
    lines = data.split(b"\n")
    try:
        version = parse_line(lines[0]).get(_FORMAT)
    except RecordError:
        version = None
    if version != _VERSION:
        raise UsageError(f"{path}: {'templates in another format' if version else 'not a file of templates'}")
    problems = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            _restore(parse_line(line), exporters, now_s)
        except (RecordError, DecodeError, ValueError) as error:
            problems.append((f"line {number}", str(error)))
        except KeyError as error:
            problems.append((f"line {number}", f"no {error.args[0]}"))
    return problems


def _newest_first(exporters: Exporters, now_s: int) -> Iterator[bytes]:
    """Yield lines of what exporters announced; what came from a file stands alone, and is not kept for another one."""
    seen = set()
    for (source, exporter, port, domain), session in reversed([*exporters.sessions()]):
        if not exporter:
            continue
        known: dict[str, Any] = {"source": source, "exporter": address_text(exporter).decode(), "port": port}
        known["domain"] = domain
        options = session.options
        rates = [[about, number, rate] for about, number, rate in options.rates()]
        if (rates or options.boot_ms is not None) and (exporter, domain) not in seen:
            seen.add((exporter, domain))
            clock = {} if options.boot_ms is None else {"boot_ms": options.boot_ms}
            good = now_s if options.restored_s is None else options.restored_s
            yield flow_line({**known, "good_s": good, "rates": rates, **clock})
        for number, layout in reversed(session.layouts.items()):
            told = layout.announced
            template = {"template": number, "options": told.options, "scopes": told.scopes}
            fields = [[*field] for field in told.fields]
            yield flow_line({**known, "good_s": session.restored.get(number, now_s), **template, "fields": fields})


def _restore(entry: dict[str, Any], exporters: Exporters, now_s: int) -> None:
    """Take one line. Raises KeyError, ValueError or DecodeError for one that cannot be."""
    source, exporter = entry["source"], _address(entry["exporter"])
    if source not in _SOURCES:
        raise ValueError(f"source {source!r}")
    export = named(source, exporter, _integer(entry, "port", _U16), _integer(entry, "domain", _U32))
    good = _integer(entry, "good_s", _U64)
    template, rates, boot_ms = None, [], None
    if "template" in entry:
        template = _template(entry)
    else:
        rates = [_rate(*rate) for rate in _list(entry, "rates", 3)]
        boot_ms = _integer(entry, "boot_ms", _U64) if "boot_ms" in entry else None
    if good + AGE_S < now_s:
        return
    session = exporters.session(export, trusted=True)
    if template is not None:
        exporters.learn(session, template, netflow9=source == "netflow9")
        session.restored[template.number] = good
    else:
        exporters.complete_options(session, rates, boot_ms)
        session.options.restored_s = good


def _template(entry: dict[str, Any]) -> Announced:
    fields = tuple(
        Specifier(
            _between("enterprise", enterprise, SCOPE_ENTERPRISE, _U32),
            _between("element", element, 0, _U16),
            _between("length", length, 0, _U16),
        )
        for enterprise, element, length in _list(entry, "fields", 3)
    )
    if not 0 < len(fields) <= MAX_FIELDS:
        raise ValueError(f"a template of {len(fields)} fields")
    number, scopes = _integer(entry, "template", _U16), _integer(entry, "scopes", len(fields))
    if type(entry["options"]) is not bool:
        raise ValueError("options is not true or false")
    return checked(Announced(number, fields, scopes, entry["options"]))


def _rate(about: Any, number: Any, rate: Any) -> tuple[str, int | float, float]:
    if about not in _ABOUT or type(number) not in (int, float) or type(rate) not in (int, float):
        raise ValueError("a rate that is none")
    if not 1 <= rate <= _MOST_RATE:
        raise ValueError(f"a rate of {rate}")
    return about, number, rate


def _address(text: Any) -> bytes:
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, TypeError, ValueError):
        raise ValueError(f"exporter {text!r} is no address") from None


def _list(entry: dict[str, Any], name: str, columns: int) -> list[Any]:
    rows = entry[name]
    if type(rows) is not list or any(type(row) is not list or len(row) != columns for row in rows):
        raise ValueError(f"{name} is no list of lists of {columns}")
    return rows


def _integer(entry: dict[str, Any], name: str, most: int) -> int:
    return _between(name, entry[name], 0, most)


def _between(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} {value!r} is no number from {least} to {most}")
    return value
