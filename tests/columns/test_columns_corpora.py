"""Flows of real exporters: the same lines by columns as one by one."""

import csv

import pytest

from overflowd_tools.columns.page import Page
from overflowd_tools.columns.plan import supports
from overflowd_tools.columns.renderer import ColumnRenderer
from overflowd_tools.protocols.detect import decode
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from overflowd_tools.rendering import compile_template
from tests.protocols.corpora import ROOT, datagrams, manifest, messages

pytestmark = pytest.mark.skipif(not manifest(), reason="OF_CORPORA is not set")


def assert_alike(flows):
    """Compare all lines of all templates. flows: batches, and where they came from."""
    writer, page = FlowWriter(envelope=True), Page()
    runs = {}
    for batch, *arrival in flows:
        run = writer.head(batch, *arrival), batch.records, batch.export_ms, batch.uptime_ms or 0
        runs.setdefault(batch.template, []).append(run)
    for template, some in runs.items():
        assert supports(template) or not template.plain
        if supports(template):
            plain = compile_template(template)
            assert ColumnRenderer(template, plain, page).render([[run] for run in some]) == [
                b"".join(plain(*run)) for run in some
            ]


@pytest.mark.parametrize("row", manifest(), ids=lambda row: row["file"])
def test_netflow9_and_ipfix(row):
    rows = [row for message in messages(ROOT / row["file"], how=How(batches=True)) for row in message.rows]
    batches = [row for row in rows if row.type == "flow" and hasattr(row, "flows")]
    assert_alike((row.flows, row.export.exporter, row.export.port, row.export.received_ns) for row in batches)


def captures_of_5():
    if not (ROOT / "MANIFEST.tsv").is_file():
        return []
    with (ROOT / "MANIFEST.tsv").open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file, delimiter="\t") if row["protocol"] == "NetFlow v5"]


@pytest.mark.parametrize("name", captures_of_5())
def test_netflow5(name):
    decoded = [(decode(payload), *arrival) for payload, arrival in datagrams(ROOT / name)]
    flows = [(batch, *arrival) for batch, *arrival in decoded if batch is not None]
    assert flows
    assert_alike(flows)
