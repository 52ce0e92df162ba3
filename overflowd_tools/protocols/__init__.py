"""Export datagrams to flows: pure, no I/O, no JSON."""
