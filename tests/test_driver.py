"""What is said of NVIDIA's driver where it is not as it should be: drivers of a few lines of C answer as real ones do."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import pytest
from vht_kernels import driver

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")

# signatures and codes of cuda.h
SOURCE = r"""
#include <stddef.h>
#include <string.h>
#ifdef STUB
int cuDriverGetVersion(int *v) { return 34; }
int cuInit(unsigned flags) { return 34; }
#else
int cuDriverGetVersion(int *v) { *v = VERSION; return 0; }
int cuInit(unsigned flags) { return INIT; }
#endif
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal < COUNT ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device == 40 ? "First" : "Second", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  int major = device == 40 ? MAJOR : 9;
  if (attribute == 75) *value = major;
  else if (attribute == 76) *value = device == 40 ? 5 : 0;
  else if (attribute == 16) *value = 132;
  else return 1;
  return ATTRIBUTES;
}
int cuGetErrorName(int code, const char **text) { *text = code == 999 ? "CUDA_ERROR_UNKNOWN" : NULL; return *text ? 0 : 1; }
int cuGetErrorString(int code, const char **text) { *text = code == 999 ? "unknown error" : NULL; return *text ? 0 : 1; }
#ifndef OLD
int cuLibraryLoadData(void) { return 0; }
#endif
"""


def build(folder, **settings):
    """A driver that answers as told; its path."""
    settings = {"VERSION": 13000, "INIT": 0, "COUNT": 1, "MAJOR": 8, "ATTRIBUTES": 0, **settings}
    source, path = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(SOURCE)
    given = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run([COMPILER, "-shared", "-fPIC", *given, "-o", path, source], check=True)
    return path


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a driver in the real one's place."""

    def put(**settings):
        monkeypatch.setattr(driver, "LIBRARIES", (str(build(tmp_path, **settings)),))

    driver.library.cache_clear()
    yield put
    driver.library.cache_clear()


def test_no_driver(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARIES", ("libno-such-driver.so.1",))
    assert driver.missing().startswith("the NVIDIA driver is not installed: its library (`libno-such-driver.so.1`)")
    assert driver.devices() == ()
    driver.library.cache_clear()
    with pytest.raises(driver.DriverError, match="is not installed"):
        driver.library()


@needs_compiler
def test_a_driver_that_has_all(fake):
    fake(COUNT=2)
    assert driver.missing() is None
    first, second = driver.devices()
    assert dataclasses.astuple(first) == (0, "First", (8, 5), 132, 80 * 2**30)
    assert dataclasses.astuple(second) == (1, "Second", (9, 0), 132, 80 * 2**30)
    assert driver.library() is driver.library()


@needs_compiler
def test_one_device_that_kernels_can_use_is_enough(fake):
    fake(COUNT=2, MAJOR=7)
    assert driver.missing() is None
    assert [device.capability for device in driver.devices()] == [(7, 5), (9, 0)]


@needs_compiler
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"VERSION": 11080}, r"is for CUDA 11\.8, but CUDA 12\.0 \(driver 525\) is needed: install a newer driver"),
        ({"VERSION": 11080, "INIT": 100}, r"is for CUDA 11\.8"),
        ({"OLD": 1}, r"is for CUDA 13\.0, but"),
        ({"STUB": 1}, "is the CUDA toolkit's stub"),
        ({"INIT": 100}, "finds no GPU: see whether `nvidia-smi` lists one"),
        ({"COUNT": 0}, "finds no GPU"),
        ({"INIT": 803}, r"of different versions \(CUDA error 803\): restart the machine"),
        ({"INIT": 999}, r"does not start \(CUDA_ERROR_UNKNOWN: unknown error\)"),
        ({"ATTRIBUTES": 999}, r"`cuDeviceGetAttribute` of device 0 failed: CUDA_ERROR_UNKNOWN"),
        ({"MAJOR": 7}, r"capability 8\.0 or later .* but here is First \(7\.5\): take another GPU"),
    ],
)
def test_what_a_driver_lacks(fake, monkeypatch, settings, said):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake(**settings)
    assert re.search(said, driver.missing()), driver.missing()
    with pytest.raises(driver.DriverError, match=said):
        driver.library()


@needs_compiler
@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_devices_that_are_hidden(fake, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake(INIT=100)
    assert f'`CUDA_VISIBLE_DEVICES="{visible}"` leaves no GPU visible: unset it' in driver.missing()


@needs_compiler
def test_calls_that_fail(fake):
    fake()
    driver.check(0, "cuLaunchKernel")
    with pytest.raises(driver.DriverError, match=r"`cuLaunchKernel` failed: CUDA_ERROR_UNKNOWN: unknown error\."):
        driver.check(999, "cuLaunchKernel")
    with pytest.raises(driver.DriverError, match=r"`cuLaunchKernel` failed: CUDA error 700\."):
        driver.check(700, "cuLaunchKernel")


@needs_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libcuda.so.1 is Linux's name")
def test_the_driver_is_found_by_its_own_name(tmp_path):
    build(tmp_path, COUNT=2)
    script = "from vht_kernels import driver; print(driver.missing(), len(driver.devices()))"
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "2"]
