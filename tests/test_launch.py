"""Kernels on a GPU, as far as that goes without one: what XLA is told, what the handler does, what the driver is asked.

The driver is a few lines of C that hand every launch to the test, which runs the kernel's PTX on the processor.
"""

import ctypes
import shutil
import subprocess
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ptx_in_c import Module
from vht_kernels import (
    LoweringError,
    cpu,
    driver,
    lanes,
    nvidia,
    program,
    programs,
    read,
    scratch,
    write,
)
from vht_kernels.launch import launcher_ir
from xla_frame import Frame, Refused, layouts

from benchmarks.gpu.check import tables

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
SOURCE = r"""
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
typedef int (*Launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
static Launch launch;
static char *text, *said;
static int depth, most;
int contexts_left(void) { return most ? depth : -1; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(long)(100 + device); return 0; }
int cuCtxPushCurrent_v2(void *context) { depth++; most = depth > most ? depth : most; return context == (void *)100 ? 0 : 201; }
int cuCtxPopCurrent_v2(void **context) { depth--; return 0; }
int cuKernelGetFunction(void **function, void *kernel) {
  if (!depth) return 201;
  if (strstr(text, "late")) { strcpy(said, "line 3: too late"); return 218; }
  if (strstr(text, "large")) return 2;
  return 0;
}
void on_launch(Launch given) { launch = given; }
const char *loaded(void) { return text; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Card", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 - device : attribute == 76 ? 0 : 4;  /* 9.0 and 8.0, 4 multiprocessors */
  return 0;
}
int cuLibraryLoadData(void **library, const char *ptx, int *options, void **values, unsigned count, int *more, void **v,
                      unsigned n) {
  if (strstr(ptx, "nonsense")) { strcpy((char *)values[0], "line 1: nonsense"); return 218; }
  said = values[0];
  free(text); text = strdup(ptx); *library = text; return 0;
}
void compile_late(void) { strcpy(said, "line 2: compiled when first run"); }
int cuLibraryGetKernel(void **kernel, void *library, const char *name) {
  *kernel = (void *)4242;
  if (strstr(text, "sought")) { strcpy(said, "line 2: when sought"); return 218; }
  return strstr(library, name) ? 0 : 500;
}
int cuKernelGetAttribute(int *value, int attribute, void *kernel, int device) {
  *value = attribute == 4 ? 96 : 24;
  return depth ? 0 : 201;
}
int cuGetErrorName(int code, const char **t) { *t = NULL; return 1; }
int cuGetErrorString(int code, const char **t) { *t = code == 2 ? "out of memory" : NULL; return *t ? 0 : 1; }
int cuLaunchKernel(void *k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned s,
                   void *stream, void **p, void **e) { return launch(k, gx, gy, gz, bx, by, bz, s, stream, p, e); }
"""
U, P = ctypes.c_uint, ctypes.c_void_p
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, P, U, U, U, U, U, U, U, P, ctypes.POINTER(P), P)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    source, path = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(SOURCE)
    subprocess.run([COMPILER, "-shared", "-fPIC", "-w", "-o", path, source], check=True)
    return path


@pytest.fixture
def card(library, monkeypatch):
    """A driver in the real one's place; of its two cards the older one has compute capability 8.0."""
    monkeypatch.setattr(driver, "LIBRARIES", (str(library),))
    monkeypatch.setattr(program, "KERNELS", {})
    driver.library.cache_clear()
    found = ctypes.CDLL(str(library))
    found.loaded.restype = ctypes.c_char_p
    yield found
    driver.library.cache_clear()


def handler_of(found, card_kernel=4242, few=256):
    """The address of a program's handler, and the kernel's text."""
    ptx = found.ptx("sm_80")
    flags = [a.table for a in found.arguments]
    text = launcher_ir("k", found.name, card_kernel, few, flags, len(found.closed.jaxpr.outvars))
    return cpu.load_object(cpu.compile_object(text), "k.handler"), ptx


def run(card, count, entries=4, stream=77, code=0):
    """One call of the handler of `tables`: its results, and what the driver was asked."""
    rng = np.random.default_rng(count)
    x, own, shared = rng.normal(size=count), rng.normal(size=(count, entries)), rng.normal(size=5)
    fn = lanes(tables, in_axes=(0, 0, None))
    found = programs(
        fn, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (np.zeros(3), np.zeros((3, entries)), shared))
    )
    handler, ptx = handler_of(found[0])
    # as the layouts say, the lanes of a table lie side by side
    inputs = [x, np.asfortranarray(own), shared]
    outs = [np.empty(count), np.empty((count, entries), order="F"), np.empty(count), np.empty(count, np.bool_)]
    outs.append(np.empty(found[0].workspace_bytes(program._workspace(ptx), [a.shape for a in inputs]) // 8))
    asked = []

    def launch(kernel, gx, gy, gz, bx, by, bz, memory, stream, parameters, extra):
        asked.append((kernel, (gx, gy, gz), (bx, by, bz), memory, stream, extra))
        if code:
            return code
        module = Module(ptx)
        (name,) = module.kernels
        numbers = [ctypes.c_uint64.from_address(parameters[i]).value for i in range(3 + len(inputs) + len(outs))]
        known = {a.ctypes.data: a.T for a in (*inputs, *outs)}
        module.run(name, gx, bx, [*numbers[:3], *(known[n] for n in numbers[3:])])
        return 0

    callback = LAUNCH(launch)
    card.on_launch(callback)
    Frame(inputs, outs, stream=stream).call(handler)
    return outs[:4], jax.vmap(tables, in_axes=(0, 0, None))(x, own, shared), asked


@pytest.mark.parametrize("count", [1, 31, 256, 300])
def test_the_handler_starts_the_kernel_on_its_buffers(card, count):
    results, expected, asked = run(card, count)
    block = 32 if count <= 256 else nvidia.BLOCK
    assert asked == [(4242, (-(-count // block), 1, 1), (block, 1, 1), 0, 77, None)]
    for got, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, np.asarray(right), rtol=1e-14)


def test_nobody_is_not_started(card):
    _, _, asked = run(card, 0)
    assert asked == []


def test_what_the_driver_refuses_is_told(card):
    with pytest.raises(Refused) as refused:
        run(card, 5, code=2)
    code, words = refused.value.args
    assert code == 8
    assert words.startswith(
        "lanes: the GPU does not start the kernel of `tables`: out of memory (CUDA error 2); its threads"
    )
    assert words.endswith("set XLA_CLIENT_MEM_FRACTION to 0.5, or less, before JAX starts")
    with pytest.raises(Refused) as refused:
        run(card, 5, code=719)
    code, words = refused.value.args
    assert code == 13
    assert words.startswith(
        "lanes: the GPU does not start the kernel of `tables`: unknown (CUDA error 719); a kernel that"
    )
    with pytest.raises(Refused, match=r"700\); a kernel that was started earlier"):
        run(card, 5, code=700)
    # too many registers for a block: this very launch
    with pytest.raises(Refused) as refused:
        run(card, 5, code=701)
    assert refused.value.args == (13, "lanes: the GPU does not start the kernel of `tables`: unknown (CUDA error 701)")
    with pytest.raises(Refused, match="no stream"):
        run(card, 5, stream=None)


def test_the_handler_speaks_the_installed_interface(card):
    from vht_kernels import abi

    found = programs(lanes(jnp.sin), np.zeros(3))
    handler, _ = handler_of(found[0])
    assert Frame([np.zeros(3)], [np.zeros(3), np.zeros(1)]).version(handler) == abi.version()


def test_xla_is_told_to_lay_lanes_side_by_side(card):
    fn = jax.jit(lanes(tables, in_axes=(0, 0, None)))
    shapes = [jax.ShapeDtypeStruct(s, np.float64) for s in ((10,), (10, 4), (5,))]
    text = fn.trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
    operands, results = layouts(text)
    assert operands == [[0], [0, 1], [0]]
    assert results == [[0], [0, 1], [0], [0], [0]]
    # the table that is no result: twice four words for each of ten lanes
    assert "tensor<640xui8>" in text
    assert ".target sm_80" in card.loaded().decode(), "one text for all cards: that of the oldest"


def test_the_report_tells_what_the_driver_says(card, monkeypatch):
    monkeypatch.setattr("vht_kernels.batching._default_platform", lambda: "gpu")
    report = lanes(jnp.sin).report(np.zeros(3))
    assert (report.architecture, report.block, report.registers, report.local_bytes) == ("sm_80", nvidia.BLOCK, 96, 24)
    assert report.width == 1 and report.equations == 1


def test_a_text_that_the_driver_refuses(card):
    with pytest.raises(driver.DriverError, match="refuses a kernel: line 1: nonsense"):
        driver.load_kernel("nonsense", "k")
    with pytest.raises(driver.DriverError, match="cuLibraryGetKernel"):
        driver.load_kernel(".version 7.0", "absent")
    with pytest.raises(driver.DriverError, match="refuses a kernel: line 2: when sought"):
        driver.load_kernel(".version 7.0 sought k", "k")
    # found out when machine code is made, which is at once
    with pytest.raises(driver.DriverError, match="refuses a kernel: line 3: too late"):
        driver.load_kernel(".version 7.0 late k", "k")
    # not the text's fault
    with pytest.raises(driver.DriverError, match="`cuKernelGetFunction` failed: out of memory"):
        driver.load_kernel(".version 7.0 large k", "k")
    assert card.contexts_left() == 0


def test_the_driver_may_write_to_its_log_when_a_kernel_first_runs(card):
    driver.load_kernel(".version 7.0 k", "k")
    others = [ctypes.create_string_buffer(8192) for _ in range(100)]  # would take the log's place, were it given back
    card.compile_late()
    assert not any(other.value for other in others)
    assert driver._LOGS[-1][0].value == b"line 2: compiled when first run"


def total(*numbers):
    return sum(numbers)


@pytest.mark.parametrize(("inputs", "version"), [(541, "7.0"), (542, "8.1"), (4092, "8.1")])
def test_many_inputs_want_a_later_version(inputs, version):
    # and the number of lanes, the output and the workspace
    text = lanes(total).ptx(*[np.zeros(2)] * inputs, architecture="sm_80")
    assert f".version {version}\n" in text
    if nvidia.assembler():
        assert nvidia.assemble(text, "sm_80").registers > 0, "the assembler takes it"


def test_more_parameters_than_there_can_be_are_refused():
    with pytest.raises(LoweringError, match=r"at most 4095 inputs.*but this one has 4096"):
        lanes(total).ptx(*[np.zeros(2)] * 4093)


def test_scratch_fits_a_thread():
    def f(i, x):
        return read(write(scratch(65_000, 0.0, np.float64), i, x), i + 1) + read(scratch(size, 0.0, np.float64), i)

    size = 536
    assert ".local " in lanes(f).ptx(np.zeros(2, np.int64), np.zeros(2))
    size = 537
    with pytest.raises(LoweringError, match="at most 524288 bytes a lane, but these take 524296"):
        lanes(f).ptx(np.zeros(2, np.int64), np.zeros(2))


def test_the_threads_of_a_block_are_bounded():
    assert f".maxntid {nvidia.BLOCK}" in lanes(jnp.sin).ptx(np.zeros(3))


def test_old_cards_are_refused():
    assert nvidia.architecture((8, 6)) == "sm_80"
    assert nvidia.architecture((12, 0)) == "sm_100"
    with pytest.raises(ValueError, match=r"need compute capability 8.0 or more, but this one has 7.5"):
        nvidia.architecture((7, 5))
    with pytest.raises(ValueError, match="`architecture` must be one of sm_80, sm_90, sm_100, but got 'sm_75'"):
        lanes(jnp.sin).ptx(np.zeros(3), architecture="sm_75")


def test_ptx_comes_from_disk_the_second_time(card, tmp_path, monkeypatch):
    monkeypatch.setenv("VHT_CACHE_DIR", str(tmp_path))
    (found,) = programs(lanes(tables, in_axes=(0, 0, None)), np.zeros(3), np.zeros((3, 4)), np.zeros(5))
    first = found.ptx("sm_90")
    (again,) = programs(lanes(tables, in_axes=(0, 0, None)), np.zeros(3), np.zeros((3, 9)), np.zeros(5))
    assert program._written(again, "sm_90", program._device_key(again, "sm_90")) == (first, True), (
        "the length of a table is no part of the kernel"
    )
    assert first.startswith("// workspace 1:2\n")


def test_machine_code_is_made_for_the_device_that_jax_has(card, monkeypatch):
    devices = driver.usable()
    assert [device.ordinal for device in devices] == [0, 1] and program._ordinal(devices) == 0, "JAX has no GPU here"
    gpus = [types.SimpleNamespace(local_hardware_id=number, platform="gpu") for number in (7, 1, 0)]
    monkeypatch.setattr(jax, "local_devices", lambda backend: gpus)
    assert program._ordinal(devices) == 1, "one that kernels can be made for"
    loaded = []
    monkeypatch.setattr(driver, "load_kernel", lambda ptx, name, ordinal: loaded.append(ordinal) or 4242)
    kernel = program._compile_for_devices(programs(lanes(jnp.cos), np.zeros(3))[0])
    assert loaded == [1] and kernel.ordinal == 1
