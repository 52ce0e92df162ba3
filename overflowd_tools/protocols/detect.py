"""Which protocol a datagram speaks: told by its content and length, never by its port."""

from overflowd_tools.protocols.netflow import decode_netflow1, decode_netflow5, decode_netflow7
from overflowd_tools.protocols.templates import FlowBatch

_DECODERS = {
    b"\x00\x01": decode_netflow1,
    b"\x00\x05": decode_netflow5,
    b"\x00\x07": decode_netflow7,
}


def decode(datagram: bytes, missing: int = 0) -> FlowBatch | None:
    """Decode an export datagram; None if it is not one of a protocol known here.

    missing: octets that the capture lacks at its end. Raises DecodeError for one that is cut inside its header.
    """
    decoder = _DECODERS.get(datagram[:2])
    return decoder(datagram, missing) if decoder else None
