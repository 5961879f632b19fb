"""Reading gzip streams (RFC 1952), broken ones as far as they go."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Self

_GZIP_WINDOW = 31  # zlib's way to say: expect gzip's header and trailer
_GZIP_PIECE = 1 << 16


class Gunzip:
    """A gzip stream (RFC 1952) that gives all that can be had of a broken one before it complains."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._left = b""
        self._broken = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, octets: int) -> bytes:
        """Up to so many octets; none at the end. Raises EOFError where the stream breaks off or is broken."""
        if self._broken:
            raise EOFError(self._broken)
        pieces: list[bytes] = []
        while octets > 0:
            if self._inflate.eof:
                self._left = self._inflate.unused_data.lstrip(b"\0")
                self._inflate = zlib.decompressobj(_GZIP_WINDOW)
                if not self._left and not self._more():
                    break
            elif not self._left and not self._more():
                self._broken = "the gzip stream breaks off"
                break
            try:
                piece = self._inflate.decompress(self._left, octets)
            except zlib.error as error:
                self._broken = f"the gzip stream is broken ({error})"
                break
            self._left = self._inflate.unconsumed_tail
            octets -= len(piece)
            pieces.append(piece)
        if not pieces and self._broken:
            raise EOFError(self._broken)
        return b"".join(pieces)

    def _more(self) -> bool:
        self._left = self._stream.read(_GZIP_PIECE)
        return bool(self._left)
