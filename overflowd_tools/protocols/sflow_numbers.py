"""The numbers of sFlow 5 that tell what is what, and where a sample may begin (sflow.org, sflow_version_5.txt)."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FLOW_SAMPLE: Final = 1
COUNTERS_SAMPLE: Final = 2
EXPANDED_FLOW_SAMPLE: Final = 3
EXPANDED_COUNTERS_SAMPLE: Final = 4
DISCARDED_PACKET: Final = 5
SAMPLES: Final = range(FLOW_SAMPLE, DISCARDED_PACKET + 1)
FLOW_SAMPLES: Final = (FLOW_SAMPLE, EXPANDED_FLOW_SAMPLE)
COUNTER_SAMPLES: Final = (COUNTERS_SAMPLE, EXPANDED_COUNTERS_SAMPLE)

SAMPLED_HEADER: Final = 1
EXTENDED_SWITCH: Final = 1001
EXTENDED_ROUTER: Final = 1002

ADDRESS_SIZES: Final = {0: 0, 1: 4, 2: 16}
"""Type of an agent's address -> its octets; 0 is no address."""

INTERNAL: Final = 0x3FFFFFFF
"""The interface of what a device sends or receives itself."""
INTERNAL_EXPANDED: Final = 0xFFFFFFFF

_TWO: Final = struct.Struct("!II")


def may_begin(data: bytes, position: int, end: int | None = None) -> bool:
    """Tell whether a sample may begin here, or the datagram end. end: where that is, if not with the data."""
    if end is None:
        end = len(data)
    if position + 8 > end:
        return position == end
    kind, length = _TWO.unpack_from(data, position)
    return kind in SAMPLES and position + length <= end
