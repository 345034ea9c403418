"""The XLA FFI handler of a GPU's kernel, in LLVM IR: it starts the kernel on XLA's own stream, by the driver.

It runs on the processor, in XLA's thread, with XLA's device chosen already. XLA's built-in custom call for PTX would need no
handler; but it is not part of XLA's public interface, tells nothing when a launch fails, and carries the text of the kernel
through every program and its cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from vht_kernels import abi, driver, nvidia
from vht_kernels.call_frame import INTERNAL, RESOURCE_EXHAUSTED, common_ir, gather_ir

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY: local memory for the threads could not be had
# a thread's own memory is the driver's to give, for as many threads as the GPU holds at once, however few are asked for
_HINT = (
    "; its threads need memory of their own beside what XLA has taken for arrays: set XLA_CLIENT_MEM_FRACTION to 0.5, "
    "or less, before JAX starts"
)
# CUDA_ERROR_HARDWARE_STACK_ERROR (714) to CUDA_ERROR_LAUNCH_FAILED (719), and CUDA_ERROR_ILLEGAL_ADDRESS: what a kernel does
# while it runs is told by whatever call comes next, and by all that come after
_FAULTS, _ILLEGAL_ADDRESS = range(714, 720), 700
_EARLIER = (
    "; a kernel that was started earlier, this one's or another's, has broken the device's context for this process"
)
_MESSAGE_BYTES = 512

_TEMPLATE = """
declare i32 @snprintf(ptr, i64, ptr, ...)

@message = private constant [{format_bytes} x i8] c"{format}\\00"
@name = private constant [{name_bytes} x i8] c"{name}\\00"
@unknown = private constant [8 x i8] c"unknown\\00"
@hint = private constant [{hint_bytes} x i8] c"{hint}\\00"
@earlier = private constant [{earlier_bytes} x i8] c"{earlier}\\00"
@nothing = private constant [1 x i8] c"\\00"

define ptr @{symbol}.handler(ptr %frame) {{
entry:
  %asked = call i1 @frame.described(ptr %frame)
  br i1 %asked, label %well, label %execute
execute:
{gather}
  %some = icmp sgt i64 %lanes, 0
  br i1 %some, label %find_stream, label %well
find_stream:
  %query = alloca [{stream_bytes} x i8], align 8
  call void @llvm.memset.p0.i64(ptr %query, i8 0, i64 {stream_bytes}, i1 false)
  store i64 {stream_bytes}, ptr %query
  %q_ctx = getelementptr i8, ptr %query, i64 {stream_ctx}
  store ptr %ctx, ptr %q_ctx
  %p_get = getelementptr i8, ptr %api, i64 {api_stream}
  %get = load ptr, ptr %p_get
  %no_stream = call ptr %get(ptr %query)
  %found = icmp eq ptr %no_stream, null
  br i1 %found, label %start, label %no_start
no_start:
  ret ptr %no_stream
start:
  %p_stream = getelementptr i8, ptr %query, i64 {stream_out}
  %stream = load ptr, ptr %p_stream
  %values = alloca [{count} x i64], align 8
  %parameters = alloca [{count} x ptr], align 8
{fill}
  %is_small = icmp sle i64 %lanes, {few}
  %block = select i1 %is_small, i64 {small_block}, i64 {block}
  %less_one = sub i64 %block, 1
  %rounded = add i64 %lanes, %less_one
  %blocks = sdiv i64 %rounded, %block
  %grid = trunc i64 %blocks to i32
  %threads = trunc i64 %block to i32
  %kernel = inttoptr i64 {handle} to ptr
  %launch = inttoptr i64 {launch} to ptr
  %code = call i32 %launch(ptr %kernel, i32 %grid, i32 1, i32 1, i32 %threads, i32 1, i32 1, i32 0, ptr %stream,
    ptr %parameters, ptr null)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %well, label %tell
well:
  ret ptr null
tell:
  %words = alloca ptr
  store ptr @unknown, ptr %words
  %explain = inttoptr i64 {explain} to ptr
  %ignored = call i32 %explain(i32 %code, ptr %words)
  %said = load ptr, ptr %words
  %has_words = icmp ne ptr %said, null
  %told = select i1 %has_words, ptr %said, ptr @unknown
  %is_memory = icmp eq i32 %code, {out_of_memory}
  %from_first = sub i32 %code, {first_fault}
  %is_late = icmp ult i32 %from_first, {faults}
  %is_address = icmp eq i32 %code, {illegal_address}
  %is_fault = or i1 %is_late, %is_address
  %otherwise = select i1 %is_fault, ptr @earlier, ptr @nothing
  %advice = select i1 %is_memory, ptr @hint, ptr %otherwise
  %text = alloca [{message_bytes} x i8]
  %written = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %text, i64 {message_bytes}, ptr @message, ptr @name, ptr %told,
    i32 %code, ptr %advice)
  %kind = select i1 %is_memory, i32 {exhausted}, i32 {internal}
  %made = call ptr @frame.refusal(ptr %api, i32 %kind, ptr %text)
  ret ptr %made
}}
"""


def launcher_ir(symbol: str, name: str, handle: int, few: int, tables: Sequence[bool], results: int) -> str:
    """LLVM IR text of ``SYMBOL.handler``.

    Args:
        symbol: of the kernel.
        name: of the user's function, for messages.
        handle: the driver's, from `driver.load_kernel`.
        few: lanes up to which blocks are small.
        tables: for each input whether it is a table, whose last axis is then its length.
        results: number of outputs, without the workspace, which XLA sees as one more.
    """
    api, _ = abi.layout("XLA_FFI_Api")
    stream, stream_bytes = abi.layout("XLA_FFI_Stream_Get_Args")
    buffers = len(tables) + results + 1
    values = ["i64 %lanes", *(f"i64 %l{i}" for i, table in enumerate(tables) if table)]
    values += [f"ptr %d{i}" for i in range(buffers)]
    fill = []
    for i, value in enumerate(values):
        fill += [
            f"  %v{i} = getelementptr i64, ptr %values, i64 {i}",
            f"  store {value}, ptr %v{i}",
            f"  %a{i} = getelementptr ptr, ptr %parameters, i64 {i}",
            f"  store ptr %v{i}, ptr %a{i}",
        ]
    text = "lanes: the GPU does not start the kernel of `%s`: %s (CUDA error %d)%s"
    letters = "".join(c if (c.isascii() and c.isalnum()) or c in "_<>." else "_" for c in name)
    return common_ir() + _TEMPLATE.format(
        symbol=symbol,
        format=text,
        hint=_HINT,
        hint_bytes=len(_HINT) + 1,
        earlier=_EARLIER,
        earlier_bytes=len(_EARLIER) + 1,
        first_fault=_FAULTS.start,
        faults=len(_FAULTS),
        illegal_address=_ILLEGAL_ADDRESS,
        format_bytes=len(text) + 1,
        name=letters,
        name_bytes=len(letters) + 1,
        message_bytes=_MESSAGE_BYTES,
        gather=gather_ir(tables, results + 1),
        fill="\n".join(fill),
        count=len(values),
        few=few,
        small_block=nvidia.SMALL_BLOCK,
        block=nvidia.BLOCK,
        handle=handle,
        launch=driver.address("cuLaunchKernel"),
        explain=driver.address("cuGetErrorString"),
        out_of_memory=_OUT_OF_MEMORY,
        exhausted=RESOURCE_EXHAUSTED,
        internal=INTERNAL,
        stream_bytes=stream_bytes,
        stream_ctx=stream["ctx"],
        stream_out=stream["stream"],
        api_stream=api["XLA_FFI_Stream_Get"],
    )
