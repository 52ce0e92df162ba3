"""Bytes of a capture file to packets, packets to datagrams: pure, no I/O."""
