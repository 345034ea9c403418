"""What every XLA FFI handler does, in LLVM IR: answer what interface it speaks, find its buffers, and refuse with a message."""

from __future__ import annotations

from collections.abc import Sequence

from vht_kernels import abi

RESOURCE_EXHAUSTED, INTERNAL = 8, 13  # XLA_FFI_Error_Code

_TEMPLATE = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; whether XLA only asked for the version of the interface; the answer is written
define private i1 @frame.described(ptr %frame) {{
entry:
  %p_ext = getelementptr i8, ptr %frame, i64 {frame_ext}
  %ext = load ptr, ptr %p_ext
  %has_ext = icmp ne ptr %ext, null
  br i1 %has_ext, label %asked, label %execute
asked:
  %p_type = getelementptr i8, ptr %ext, i64 {ext_type}
  %type = load i32, ptr %p_type
  %is_query = icmp eq i32 %type, 1
  br i1 %is_query, label %describe, label %execute
describe:
  %p_meta = getelementptr i8, ptr %ext, i64 {ext_meta}
  %meta = load ptr, ptr %p_meta
  %p_major = getelementptr i8, ptr %meta, i64 {meta_major}
  store i32 {major}, ptr %p_major
  %p_minor = getelementptr i8, ptr %meta, i64 {meta_minor}
  store i32 {minor}, ptr %p_minor
  %p_traits = getelementptr i8, ptr %meta, i64 {meta_traits}
  store i32 0, ptr %p_traits
  ret i1 true
execute:
  ret i1 false
}}

; an error to return to XLA, which keeps a copy of the message
define private ptr @frame.refusal(ptr %api, i32 %code, ptr %message) {{
  %error = alloca [{error_bytes} x i8], align 8
  call void @llvm.memset.p0.i64(ptr %error, i8 0, i64 {error_bytes}, i1 false)
  store i64 {error_bytes}, ptr %error
  %p_message = getelementptr i8, ptr %error, i64 {error_message}
  store ptr %message, ptr %p_message
  %p_code = getelementptr i8, ptr %error, i64 {error_code}
  store i32 %code, ptr %p_code
  %p_create = getelementptr i8, ptr %api, i64 {api_error}
  %create = load ptr, ptr %p_create
  %made = call ptr %create(ptr %error)
  ret ptr %made
}}
"""


def common_ir() -> str:
    """``i1 @frame.described(ptr frame)`` and ``ptr @frame.refusal(ptr api, i32 code, ptr message)``."""
    frame, _ = abi.layout("XLA_FFI_CallFrame")
    base, _ = abi.layout(abi.pointed_to("XLA_FFI_CallFrame", "extension_start"))
    extension, _ = abi.layout("XLA_FFI_Metadata_Extension")
    meta, _ = abi.layout("XLA_FFI_Metadata")
    numbers, _ = abi.layout("XLA_FFI_Api_Version")
    error, error_bytes = abi.layout("XLA_FFI_Error_Create_Args")
    api, _ = abi.layout("XLA_FFI_Api")
    major, minor = abi.version()
    return _TEMPLATE.format(
        frame_ext=frame["extension_start"],
        ext_type=base["type"],
        ext_meta=extension["metadata"],
        meta_major=meta["api_version"] + numbers["major_version"],
        meta_minor=meta["api_version"] + numbers["minor_version"],
        meta_traits=meta["traits"],
        major=major,
        minor=minor,
        error_bytes=error_bytes,
        error_message=error["message"],
        error_code=error["errc"],
        api_error=api["XLA_FFI_Error_Create"],
    )


def gather_ir(tables: Sequence[bool], results: int) -> str:
    """Lines that read a call frame, for use in a function with the parameter ``%frame``.

    They give ``%api``, ``%ctx``; of every buffer ``i`` (the inputs, then the outputs) its memory ``%d{i}``; of every input
    that is a table its length ``%l{i}``; and the number of ``%lanes``.

    Args:
        tables: for each input whether it is a table, whose last axis is then its length.
        results: number of outputs; the first axis of the first one counts the lanes.
    """
    frame, _ = abi.layout("XLA_FFI_CallFrame")
    args, _ = abi.layout("XLA_FFI_Args")
    rets, _ = abi.layout("XLA_FFI_Rets")
    buffer, _ = abi.layout("XLA_FFI_Buffer")
    places = {
        "api": frame["api"],
        "ctx": frame["ctx"],
        "args": frame["args"] + args["args"],
        "rets": frame["rets"] + rets["rets"],
    }
    lines = []
    for name, place in places.items():
        lines += [
            f"  %p_{name} = getelementptr i8, ptr %frame, i64 {place}",
            f"  %{name} = load ptr, ptr %p_{name}",
        ]
    for i in range(len(tables) + results):
        source, place = ("args", i) if i < len(tables) else ("rets", i - len(tables))
        lines += [
            f"  %g{i} = getelementptr ptr, ptr %{source}, i64 {place}",
            f"  %b{i} = load ptr, ptr %g{i}",
            f"  %pd{i} = getelementptr i8, ptr %b{i}, i64 {buffer['data']}",
            f"  %d{i} = load ptr, ptr %pd{i}",
        ]
        if i < len(tables) and tables[i]:
            lines += [
                f"  %pr{i} = getelementptr i8, ptr %b{i}, i64 {buffer['rank']}",
                f"  %r{i} = load i64, ptr %pr{i}",
                f"  %last{i} = sub i64 %r{i}, 1",
                f"  %ps{i} = getelementptr i8, ptr %b{i}, i64 {buffer['dims']}",
                f"  %s{i} = load ptr, ptr %ps{i}",
                f"  %pl{i} = getelementptr i64, ptr %s{i}, i64 %last{i}",
                f"  %l{i} = load i64, ptr %pl{i}",
            ]
    lines += [
        f"  %p_dims = getelementptr i8, ptr %b{len(tables)}, i64 {buffer['dims']}",
        "  %dims = load ptr, ptr %p_dims",
        "  %lanes = load i64, ptr %dims",
    ]
    return "\n".join(lines)
