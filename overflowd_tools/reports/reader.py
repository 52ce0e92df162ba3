"""Reading a line that may hold a report of either version, or something else altogether."""

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import plain, report


def read_line(line: bytes) -> report.Report | None:
    """Return the report of a line, or None for a line of another type, which is to be passed on as it is.

    A line with a member `type`, or with a `$schema` of another family, is of another type; but whatever a
    program could take for a report, or for one that was verified, is not passed on like that.
    Raises RecordError with the reason why the line is no report.
    """
    found = plain.read(line)
    if found:
        return found
    from overflowd_tools.reports import original  # which takes a parser of JSON, and most often is not needed

    try:
        members = original.loads(line)
    except RecordError as error:
        raise RecordError(f"not a report: {error}") from None
    schema = members.get("$schema")
    if type(schema) is str and schema.startswith("overflowd-report/"):
        if line.lstrip().startswith(b"{'"):
            raise RecordError("not a report: not JSON, which only version 1 need not be")
        return report.from_members(members, line)
    if original.is_original(members):
        return original.from_members(members)
    if "verified" in members or ("type" not in members and schema is None):
        raise RecordError("not a report")
    return None
