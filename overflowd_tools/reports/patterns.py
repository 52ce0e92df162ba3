"""Patterns of what stands in reports and flow lines: numbers and addresses, in the one form that canonical JSON has.

Possessive, or with the usual alternative first, so that next to nothing is tried twice. Something else than a digit has
to follow.
"""

NATURAL = rb"(?:[1-9][0-9]{0,14}+|0)"
"""Below 10^15, and so below 2^53."""
UINT16 = rb"(?:[1-9][0-9]{0,3}+|[1-5][0-9]{4}|0|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
UINT8 = rb"(?:[1-9][0-9]?+|1[0-9]{2}|2[0-4][0-9]|25[0-5]|0)"
IPV4 = rb"\.".join([UINT8] * 4)
IPV6 = rb"[0-9a-f]*+:[0-9a-f.:]++"
"""Canonical or not."""
