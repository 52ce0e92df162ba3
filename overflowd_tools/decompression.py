"""Bytes as they were before they were compressed: gzip and zstd, recognised by their magic."""

from __future__ import annotations

from itertools import chain

from overflowd_tools.errors import DecodeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

PIECE = 1 << 16

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_LOG = 23  # 8 MiB, which RFC 8878, section 3.1.1.1.2, recommends; zstd --ultra and --long use more


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass bytes through; gzip (RFC 1952, several members too) and zstd (RFC 8878) data are decompressed.

    No decompressed piece is larger than 64 KiB, whatever went in. Raises DecodeError for data that are
    damaged or end too early, after everything that was whole, and UsageError where no library reads zstd.
    """
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4 or not may_be_compressed(head):
            break
    everything = chain([head], chunks) if head else chunks
    if head.startswith(_GZIP_MAGIC):
        import zlib

        return _inflated("gzip", everything, _GzipDecompressor, zlib.error)
    if head.startswith(_ZSTD_MAGIC):
        zstd = _zstd_library()
        limit = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return _inflated("zstd", everything, lambda: zstd.ZstdDecompressor(options=limit), zstd.ZstdError)
    return iter(everything)


def may_be_compressed(head: bytes) -> bool:
    """Tell whether data that begin so may be compressed; they may be too few to know."""
    return _GZIP_MAGIC.startswith(head[:2]) or _ZSTD_MAGIC.startswith(head[:4])


def _inflated(
    name: str, chunks: Iterable[bytes], new_decoder: Callable[[], Any], error_type: type[Exception]
) -> Iterator[bytes]:
    decoder = new_decoder()
    try:
        for chunk in chunks:
            pending = chunk
            while pending or not (decoder.eof or decoder.needs_input):
                if decoder.eof:
                    if not pending.strip(b"\0"):  # the padding of a tape, which gzip(1) ignores too
                        break
                    decoder = new_decoder()
                data = decoder.decompress(pending, PIECE)
                if data:
                    yield data
                pending = decoder.unused_data if decoder.eof else b""
        while not decoder.eof:
            data = decoder.decompress(b"", PIECE)
            if not data:
                raise DecodeError(f"the {name} data end too early")
            yield data
    except error_type as error:
        raise DecodeError(f"the {name} data cannot be decompressed: {error}") from error


class _GzipDecompressor:
    """zlib's decompression object in the shape of bz2's, lzma's and zstd's."""

    def __init__(self) -> None:
        import zlib

        self._decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


def _zstd_library() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise UsageError("zstd data: use zstd -dc FILE |, or install overflowd-tools[zstd]") from None
    return zstd
