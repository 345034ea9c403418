"""The call frame that XLA hands to an FFI handler, made by hand, so that a handler runs without XLA and without a device."""

from __future__ import annotations

import ctypes
import re

import numpy as np
from vht_kernels import abi

ERROR_CREATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
STREAM_GET = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
WORD = 8


class Refused(Exception):
    """What the handler answered XLA with: the code of `XLA_FFI_Error_Code` and the message."""


class Frame:
    """Calls a handler with buffers.

    Args:
        inputs: arrays.
        outputs: arrays, written in place.
        stream: the number that stands for the device's stream; None answers that there is none.
    """

    def __init__(self, inputs: list[np.ndarray], outputs: list[np.ndarray], stream: int | None = 77) -> None:
        self.stream = stream
        self.errors: list[tuple[int, str]] = []
        self._keep: list[object] = []
        api, size = abi.layout("XLA_FFI_Api")
        table = self._block(size)
        create, get = ERROR_CREATE(self._create), STREAM_GET(self._get)
        self._keep += [create, get]
        self._put(table, api["XLA_FFI_Error_Create"], ctypes.cast(create, ctypes.c_void_p).value)
        self._put(table, api["XLA_FFI_Stream_Get"], ctypes.cast(get, ctypes.c_void_p).value)
        layout, size = abi.layout("XLA_FFI_CallFrame")
        self._frame = self._block(size)
        self._put(self._frame, layout["api"], ctypes.addressof(table))
        self._put(self._frame, layout["ctx"], 55)
        for part, arrays in (("args", inputs), ("rets", outputs)):
            fields, _ = abi.layout(f"XLA_FFI_{part.capitalize()}")
            pointers = self._block(WORD * max(1, len(arrays)))
            for i, array in enumerate(arrays):
                self._put(pointers, WORD * i, ctypes.addressof(self._buffer(array)))
            self._put(self._frame, layout[part] + fields[part], ctypes.addressof(pointers))

    def call(self, handler: int) -> None:
        """Run the handler at an address.

        Raises:
            Refused: with code and message.
        """
        answer = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(handler)(ctypes.addressof(self._frame))
        if answer:
            raise Refused(*(self.errors[-1] if self.errors else (answer, "")))

    def version(self, handler: int) -> tuple[int, int]:
        """What the handler says of its interface when XLA asks, as it does when one is registered."""
        base, _ = abi.layout(abi.pointed_to("XLA_FFI_CallFrame", "extension_start"))
        extension, size = abi.layout("XLA_FFI_Metadata_Extension")
        meta, meta_size = abi.layout("XLA_FFI_Metadata")
        numbers, _ = abi.layout("XLA_FFI_Api_Version")
        asked, told = self._block(size), self._block(meta_size)
        ctypes.c_int32.from_buffer(asked, base["type"]).value = 1
        self._put(asked, extension["metadata"], ctypes.addressof(told))
        place = abi.layout("XLA_FFI_CallFrame")[0]["extension_start"]
        self._put(self._frame, place, ctypes.addressof(asked))
        self.call(handler)
        self._put(self._frame, place, 0)
        start = meta["api_version"]
        parts = (ctypes.c_int32.from_buffer(told, start + numbers[f"{part}_version"]) for part in ("major", "minor"))
        major, minor = (part.value for part in parts)
        return major, minor

    def _buffer(self, array: np.ndarray) -> ctypes.Array:
        fields, size = abi.layout("XLA_FFI_Buffer")
        dims = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
        buffer = self._block(size)
        self._keep += [dims, array]
        self._put(buffer, fields["data"], array.ctypes.data)
        self._put(buffer, fields["rank"], array.ndim)
        self._put(buffer, fields["dims"], ctypes.addressof(dims))
        return buffer

    def _block(self, size: int) -> ctypes.Array:
        block = (ctypes.c_uint8 * size)()
        self._keep.append(block)
        return block

    @staticmethod
    def _put(block: ctypes.Array, place: int, word: int | None) -> None:
        ctypes.c_uint64.from_buffer(block, place).value = word or 0

    def _create(self, args: int) -> int:
        fields, size = abi.layout("XLA_FFI_Error_Create_Args")
        block = (ctypes.c_uint8 * size).from_address(args)
        message = ctypes.c_char_p.from_buffer(block, fields["message"]).value or b""
        self.errors.append((ctypes.c_int32.from_buffer(block, fields["errc"]).value, message.decode()))
        return 1

    def _get(self, args: int) -> int:
        fields, size = abi.layout("XLA_FFI_Stream_Get_Args")
        block = (ctypes.c_uint8 * size).from_address(args)
        assert ctypes.c_uint64.from_buffer(block, fields["ctx"]).value == 55
        if self.stream is None:
            self.errors.append((9, "no stream"))
            return 1
        ctypes.c_uint64.from_buffer(block, fields["stream"]).value = self.stream
        return 0


def layouts(text: str) -> tuple[list[list[int]], list[list[int]]]:
    """Of the custom call in a lowered program: each operand's and each result's layout, minor to major."""

    def listed(kind: str) -> list[list[int]]:
        found = re.search(rf"{kind}_layouts = \[(.*?)\](?:,|\}})", text)
        assert found is not None
        return [[int(n) for n in re.findall(r"\d+", entry)] for entry in re.findall(r"dense<(.*?)> :", found.group(1))]

    return listed("operand"), listed("result")
