"""Captures to lines: the readers, the decoders and the writer put together, and quicker ways for what is usual."""
