"""The XLA FFI handler of a kernel, in LLVM IR: what XLA calls, and how the lanes are shared out over the cores.

XLA hands over a call frame; the handler gathers the buffers, asks XLA's own thread pool for helpers, and takes chunks of
lane groups in turn with them. It never waits for a helper that has not begun: whoever comes late finds no chunk left.

XLA's threads take subnormal numbers for zero; the threads that run a kernel are set to IEEE arithmetic meanwhile, so that
a kernel's results are right down to the smallest number and do not depend on the thread that computes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from vht_kernels import abi
from vht_kernels.call_frame import RESOURCE_EXHAUSTED, common_ir, gather_ir

_TEMPLATE = """
%job = type {{ ptr, ptr, i64, i64, i64, i64, i64, i64, i64 }}
; buffers, lengths, lanes, groups, chunk, next (atomic), done (atomic), holders (atomic), failed (atomic)

declare ptr @malloc(i64)
declare void @free(ptr)
declare i32 @sched_yield()
declare i32 @{kernel}(ptr, ptr, i64, i64, i64)

@no_memory = private constant [31 x i8] c"lanes: out of memory in kernel\\00"

define private void @{kernel}.work(ptr %job) {{
entry:
  %buffers = load ptr, ptr %job
  %p1 = getelementptr %job, ptr %job, i64 0, i32 1
  %lengths = load ptr, ptr %p1
  %p2 = getelementptr %job, ptr %job, i64 0, i32 2
  %lanes = load i64, ptr %p2
  %p3 = getelementptr %job, ptr %job, i64 0, i32 3
  %groups = load i64, ptr %p3
  %p4 = getelementptr %job, ptr %job, i64 0, i32 4
  %chunk = load i64, ptr %p4
  %next = getelementptr %job, ptr %job, i64 0, i32 5
  %done = getelementptr %job, ptr %job, i64 0, i32 6
  %failed = getelementptr %job, ptr %job, i64 0, i32 8
  br label %take
take:
  %first = atomicrmw add ptr %next, i64 %chunk acq_rel
  %some = icmp slt i64 %first, %groups
  br i1 %some, label %run, label %exit
run:
  %end = add i64 %first, %chunk
  %over = icmp sgt i64 %end, %groups
  %last = select i1 %over, i64 %groups, i64 %end
  %state = call i32 @{kernel}(ptr %buffers, ptr %lengths, i64 %lanes, i64 %first, i64 %last)
  %bad = zext i32 %state to i64
  %others = atomicrmw or ptr %failed, i64 %bad acq_rel
  %count = sub i64 %last, %first
  %before = atomicrmw add ptr %done, i64 %count acq_rel
  br label %take
exit:
  ret void
}}

define private void @{kernel}.release(ptr %job) {{
  %holders = getelementptr %job, ptr %job, i64 0, i32 7
  %before = atomicrmw sub ptr %holders, i64 1 acq_rel
  %was_last = icmp eq i64 %before, 1
  br i1 %was_last, label %drop, label %exit
drop:
  call void @free(ptr %job)
  br label %exit
exit:
  ret void
}}

{mode_declarations}

define private void @{kernel}.exact(ptr %job) {{
{mode_begin}
  ; not inlined: no arithmetic may leave the stretch in which the mode is set
  call void @{kernel}.work(ptr %job) noinline
{mode_end}
  ret void
}}

define private void @{kernel}.help(ptr %job) {{
  call void @{kernel}.exact(ptr %job)
  call void @{kernel}.release(ptr %job)
  ret void
}}

define ptr @{kernel}.handler(ptr %frame) {{
entry:
  %asked = call i1 @frame.described(ptr %frame)
  br i1 %asked, label %well, label %execute
execute:
{gather}
  %job = call ptr @malloc(i64 {job_bytes})
  %failed = icmp eq ptr %job, null
  br i1 %failed, label %refuse, label %prepare
refuse:
  %made = call ptr @frame.refusal(ptr %api, i32 {exhausted}, ptr @no_memory)
  ret ptr %made
prepare:
  %buffers = getelementptr i8, ptr %job, i64 72
  %lengths = getelementptr i8, ptr %job, i64 {lengths_at}
{keep}
  %rounded = add i64 %lanes, {width_less_one}
  %groups = sdiv i64 %rounded, {width}
  %query = alloca [{threads_bytes} x i8], align 8
  %count = alloca i64
  store i64 1, ptr %count
  call void @llvm.memset.p0.i64(ptr %query, i8 0, i64 {threads_bytes}, i1 false)
  store i64 {threads_bytes}, ptr %query
  %q_ctx = getelementptr i8, ptr %query, i64 {threads_ctx}
  store ptr %ctx, ptr %q_ctx
  %q_out = getelementptr i8, ptr %query, i64 {threads_out}
  store ptr %count, ptr %q_out
  %p_threads = getelementptr i8, ptr %api, i64 {api_threads}
  %f_threads = load ptr, ptr %p_threads
  %t_error = call ptr %f_threads(ptr %query)
  call void @{kernel}.forget(ptr %api, ptr %t_error)
  %threads = load i64, ptr %count
  ; eight turns a core even out lanes of unequal work; a chunk is one group at the least
  %turns = mul i64 %threads, 8
  %share = sdiv i64 %groups, %turns
  %tiny = icmp slt i64 %share, 1
  %chunk = select i1 %tiny, i64 1, i64 %share
  %spare = sub i64 %threads, 1
  %others = sub i64 %groups, 1
  %few = icmp slt i64 %others, %spare
  %helpers0 = select i1 %few, i64 %others, i64 %spare
  %none = icmp slt i64 %helpers0, 0
  %helpers = select i1 %none, i64 0, i64 %helpers0
  %holders = add i64 %helpers, 1
  store ptr %buffers, ptr %job
  %j1 = getelementptr %job, ptr %job, i64 0, i32 1
  store ptr %lengths, ptr %j1
  %j2 = getelementptr %job, ptr %job, i64 0, i32 2
  store i64 %lanes, ptr %j2
  %j3 = getelementptr %job, ptr %job, i64 0, i32 3
  store i64 %groups, ptr %j3
  %j4 = getelementptr %job, ptr %job, i64 0, i32 4
  store i64 %chunk, ptr %j4
  %j5 = getelementptr %job, ptr %job, i64 0, i32 5
  store i64 0, ptr %j5
  %j6 = getelementptr %job, ptr %job, i64 0, i32 6
  store i64 0, ptr %j6
  %j7 = getelementptr %job, ptr %job, i64 0, i32 7
  store i64 %holders, ptr %j7
  %j8 = getelementptr %job, ptr %job, i64 0, i32 8
  store i64 0, ptr %j8
  %call = alloca [{schedule_bytes} x i8], align 8
  call void @llvm.memset.p0.i64(ptr %call, i8 0, i64 {schedule_bytes}, i1 false)
  store i64 {schedule_bytes}, ptr %call
  %c_ctx = getelementptr i8, ptr %call, i64 {schedule_ctx}
  store ptr %ctx, ptr %c_ctx
  %c_task = getelementptr i8, ptr %call, i64 {schedule_task}
  store ptr @{kernel}.help, ptr %c_task
  %c_data = getelementptr i8, ptr %call, i64 {schedule_data}
  store ptr %job, ptr %c_data
  %p_schedule = getelementptr i8, ptr %api, i64 {api_schedule}
  %f_schedule = load ptr, ptr %p_schedule
  br label %ask
ask:
  %i = phi i64 [ 0, %prepare ], [ %i_next, %asked_one ]
  %enough = icmp sge i64 %i, %helpers
  br i1 %enough, label %work, label %ask_one
ask_one:
  %s_error = call ptr %f_schedule(ptr %call)
  %refused = icmp ne ptr %s_error, null
  br i1 %refused, label %alone, label %asked_one
alone:
  ; no pool after all: this helper never comes, so it holds nothing
  call void @{kernel}.forget(ptr %api, ptr %s_error)
  call void @{kernel}.release(ptr %job)
  br label %asked_one
asked_one:
  %i_next = add i64 %i, 1
  br label %ask
work:
  call void @{kernel}.exact(ptr %job)
  br label %wait
wait:
  %finished = load atomic i64, ptr %j6 acquire, align 8
  %all = icmp sge i64 %finished, %groups
  br i1 %all, label %over, label %pause
pause:
  %y = call i32 @sched_yield()
  br label %wait
over:
  %states = load atomic i64, ptr %j8 acquire, align 8
  call void @{kernel}.release(ptr %job)
  %good = icmp eq i64 %states, 0
  br i1 %good, label %well, label %refuse
well:
  ret ptr null
}}

define private void @{kernel}.forget(ptr %api, ptr %error) {{
  %none = icmp eq ptr %error, null
  br i1 %none, label %exit, label %destroy
destroy:
  %args = alloca [24 x i8], align 8
  call void @llvm.memset.p0.i64(ptr %args, i8 0, i64 24, i1 false)
  store i64 24, ptr %args
  %p_error = getelementptr i8, ptr %args, i64 16
  store ptr %error, ptr %p_error
  %p_destroy = getelementptr i8, ptr %api, i64 {api_destroy}
  %f = load ptr, ptr %p_destroy
  call void %f(ptr %args)
  br label %exit
exit:
  ret void
}}
"""

# declarations; how to change to IEEE arithmetic (rounding to nearest, no traps), keeping the mode; and back
_X86_MODE = (
    "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
    """  %mode = alloca i32
  %ieee = alloca i32
  store i32 8064, ptr %ieee
  call void @llvm.x86.sse.stmxcsr(ptr %mode)
  call void @llvm.x86.sse.ldmxcsr(ptr %ieee)""",
    "  call void @llvm.x86.sse.ldmxcsr(ptr %mode)",
)
_ARM_MODE = (
    "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
    "  %mode = call i64 @llvm.aarch64.get.fpcr()\n  call void @llvm.aarch64.set.fpcr(i64 0)",
    "  call void @llvm.aarch64.set.fpcr(i64 %mode)",
)
_MODES = {"x86_64": _X86_MODE, "aarch64": _ARM_MODE, "arm64": _ARM_MODE}


def handler_ir(kernel: str, width: int, tables: Sequence[bool], results: int, processor: str) -> str:
    """LLVM IR text of ``KERNEL.handler``, an XLA FFI handler that runs the function ``KERNEL`` over all its lanes.

    Args:
        kernel: name of the function `lower` wrote.
        width: lanes a group.
        tables: for each input whether it is a table, whose last axis is then its length.
        results: number of outputs; the first axis of the first one counts the lanes.
        processor: its family, the first word of LLVM's triple.
    """
    mode_declarations, mode_begin, mode_end = _MODES.get(processor, ("", "", ""))
    api, _ = abi.layout("XLA_FFI_Api")
    threads, threads_bytes = abi.layout("XLA_FFI_ThreadPool_NumThreads_Args")
    schedule, schedule_bytes = abi.layout("XLA_FFI_ThreadPool_Schedule_Args")
    count = len(tables) + results
    keep = []
    for i in range(count):
        keep += [f"  %o{i} = getelementptr ptr, ptr %buffers, i64 {i}", f"  store ptr %d{i}, ptr %o{i}"]
        if i < len(tables) and tables[i]:
            keep += [f"  %ol{i} = getelementptr i64, ptr %lengths, i64 {i}", f"  store i64 %l{i}, ptr %ol{i}"]
    return common_ir() + _TEMPLATE.format(
        kernel=kernel,
        width=width,
        width_less_one=width - 1,
        job_bytes=72 + 8 * (count + len(tables)),
        lengths_at=72 + 8 * count,
        gather=gather_ir(tables, results),
        keep="\n".join(keep),
        exhausted=RESOURCE_EXHAUSTED,
        api_destroy=api["XLA_FFI_Error_Destroy"],
        api_threads=api["XLA_FFI_ThreadPool_NumThreads"],
        api_schedule=api["XLA_FFI_ThreadPool_Schedule"],
        threads_bytes=threads_bytes,
        threads_ctx=threads["ctx"],
        threads_out=threads["num_threads"],
        schedule_bytes=schedule_bytes,
        schedule_ctx=schedule["ctx"],
        schedule_task=schedule["task"],
        schedule_data=schedule["data"],
        mode_declarations=mode_declarations,
        mode_begin=mode_begin,
        mode_end=mode_end,
    )
