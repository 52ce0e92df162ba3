"""of-open: decrypt the reports that were sealed for us."""

from __future__ import annotations

import sys
from functools import partial
from itertools import chain

from overflowd_tools import command, passphrase
from overflowd_tools.delivery import addresses, admission
from overflowd_tools.errors import RecordError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import SimpleNamespace

    from overflowd_tools.reports.report import Report
    from overflowd_tools.reports.sealed import Sealed
    from overflowd_tools.trust.sealing import ReceivingKey, RecipientKey


def options() -> Options:
    """Return the options of of-open."""
    made = command.options("of-open", "Decrypt the reports that were sealed for us; of-verify judges them.")
    made.add(
        "-k",
        "--key",
        metavar="FILE",
        action="append",
        help="file of receiving keys, or of a key that signs; may be repeated",
    )
    made.add(
        "--passphrase-fd",
        metavar="N",
        type=int,
        help="take the passphrase of a key that signs from this descriptor",
    )
    made.add(
        "--own",
        metavar="NET",
        type=command.value(addresses.parse_prefix),
        action="append",
        default=[],
        help="take reports to addresses in NET alone; may be repeated",
    )
    return made


def run(context: command.Context) -> None:
    """Open each sealed report, and age files; any other line goes through as it is."""
    from overflowd_tools.reports import sealed
    from overflowd_tools.trust import age_files

    keys = _keys(context.args)
    own = context.args.own
    write, counts = context.output.write, context.counts
    counts |= {"opened": 0, "other_lines": 0}
    decrypted = partial(age_files.decrypted, keys=lambda: list(chain.from_iterable(keys.values())))
    for source in context.inputs(decrypted):
        for number, line in source.lines():
            try:
                found = sealed.read_line(line)
                if found is None:
                    write(line + b"\n")
                    counts["other_lines"] += 1
                    continue
                report = opened(found, keys)
                if own:
                    admission.check_recipient(report.to, b"", own)
            except RecordError as error:
                reason = str(error)
                context.reject(source.name, f"line {number}", reason, reason.partition(":")[0])
                continue
            write(report.text + b"\n")
            counts["opened"] += 1


def opened(sealed: Sealed, keys: Mapping[bytes, Sequence[ReceivingKey]]) -> Report:
    """Return the report in a sealed one. Its signature is not checked.

    keys: ours, by their hints. Only those with the right hint are tried. Raises RecordError with the reason.
    """
    from overflowd_tools.reports.reader import read_line

    place = f"hint {sealed.hint.hex()}"
    if sealed.hint not in keys:
        raise RecordError(f"no key: sealed for a key of another, {place}")
    try:
        contents = next((found for key in keys[sealed.hint] if (found := key.open(sealed.box)) is not None), None)
        report = read_line(contents) if contents is not None else None
    except RecordError as error:
        raise RecordError(f"not a report: what is sealed for our key, {place}: {error}") from None
    if contents is None:
        raise RecordError(f"cannot be opened: damaged, or not for our key, {place}")
    if report is None:
        raise RecordError(f"not a report: what is sealed for our key, {place}")
    if sealed.to is not None and not _same(sealed.to, report.to):
        raise RecordError(f"wrong recipient: sealed to {sealed.to}, and its report is to {report.to or 'nobody'}")
    return report


def _same(claimed: str, signed: str | None) -> bool:
    """Tell whether two texts are one address: IPv4 is written inside IPv6, too."""
    if claimed == signed or signed is None:
        return claimed == signed
    return addresses.pack_address(claimed) == addresses.pack_address(signed)


def _keys(args: SimpleNamespace) -> Mapping[bytes, Sequence[ReceivingKey]]:
    from overflowd_tools.trust import receiving

    keys: dict[bytes, dict[RecipientKey, ReceivingKey]] = {}
    for path in args.key or [receiving.default_path()]:
        for key in receiving.read_keys(path, partial(passphrase.read, args.passphrase_fd, f"Passphrase of {path}: ")):
            keys.setdefault(key.public.hint, {})[key.public] = key
    return {hint: list(found.values()) for hint, found in keys.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-open and return its exit status."""
    return command.run(options(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
