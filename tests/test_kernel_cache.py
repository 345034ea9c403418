"""Compiled kernels on disk, the memory layout of XLA's interface, and how a kernel is called from other processes."""

from __future__ import annotations

import os
import pathlib
import py_compile
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vht_kernels import abi, cache, cpu, lanes
from vht_kernels.fingerprint import fingerprint
from vht_kernels.handler import handler_ir
from vht_kernels.lower import Argument


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VHT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("vht_kernels.program.KERNELS", {})  # as a new process would find it
    return tmp_path / "kernels"


def forget(monkeypatch):
    monkeypatch.setattr("vht_kernels.program.KERNELS", {})


def compiled(fn, x):
    """A fresh `lanes`, as in a new process, and whether its kernel came from disk."""
    kernel = lanes(fn)
    np.testing.assert_allclose(kernel(x), jax.vmap(fn)(x), rtol=1e-13)
    return kernel.report(x).from_disk


def program(x):
    return jnp.where(x > 0.5, x * 3.0, x - 2.0)


X = np.linspace(0.0, 1.0, 9)


def test_second_process_finds_the_first_ones_kernel(folder, monkeypatch):
    assert compiled(program, X) is False
    assert len(list(folder.glob("*.o"))) == 1
    forget(monkeypatch)
    assert compiled(program, X) is True
    assert not list(folder.glob(".new-*"))


@pytest.mark.parametrize("damage", [b"", b"short", None, "flip"])
def test_a_damaged_entry_is_compiled_again(folder, monkeypatch, damage):
    compiled(program, X)
    (path,) = folder.glob("*.o")
    good = path.read_bytes()
    if damage is None:
        path.write_bytes(good[: len(good) // 2])
    elif damage == "flip":
        path.write_bytes(good[:-40] + bytes([good[-40] ^ 255]) + good[-39:])
    else:
        path.write_bytes(damage)
    forget(monkeypatch)
    assert compiled(program, X) is False
    forget(monkeypatch)
    assert compiled(program, X) is True


def test_an_entry_under_the_key_of_another_is_compiled_again(folder, monkeypatch):
    """Two files changed places (a copy gone wrong, a hostile neighbour): neither is ever loaded as the other."""

    def other(x):
        return jnp.where(x > 0.5, x + 3.0, x * 2.0)

    assert [compiled(program, X), compiled(other, X)] == [False, False]
    first, second = folder.glob("*.o")
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert cache.load(first.stem) is None
    forget(monkeypatch)
    assert [compiled(program, X), compiled(other, X)] == [False, False]
    forget(monkeypatch)
    assert [compiled(program, X), compiled(other, X)] == [True, True]


def test_an_entry_that_cannot_be_loaded_is_compiled_again(folder, monkeypatch):
    """Sound by its digest, but another function or no machine code at all."""
    compiled(program, X)
    (path,) = folder.glob("*.o")
    for code in (cpu.compile_object("define i64 @one() { ret i64 1 }"), b"no machine code"):
        cache.store(path.stem, code)
        assert cache.load(path.stem) == code
        forget(monkeypatch)
        assert compiled(program, X) is False
    forget(monkeypatch)
    assert compiled(program, X) is True


def test_what_dead_writers_left_is_removed(folder):
    folder.mkdir()
    old, new = folder / ".new-old", folder / ".new-new"
    for path in (old, new):
        path.write_bytes(bytes(10))
    os.utime(old, (1e9, 1e9))
    cache.store("key", b"code")
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), ValueError("embedded null byte")])
@pytest.mark.parametrize("name", ["mkdir", "read_bytes"])
def test_a_folder_that_cannot_be_used_costs_no_result(folder, monkeypatch, name, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(pathlib.Path, name, refuse)
    assert compiled(program, X) is False


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("VHT_CACHE_DIR", str(blocked))
    forget(monkeypatch)
    assert compiled(program, X) is False


def test_a_full_disk_leaves_no_part_of_a_file(folder, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert compiled(program, X) is False
    assert list(folder.iterdir()) == []


def test_two_writers_leave_one_whole_file(folder):
    codes = [bytes([i]) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda code: cache.store("key", code), codes))
    assert cache.load("key") in codes
    assert [p.name for p in folder.iterdir()] == ["key.o"]


def test_old_kernels_make_room(folder, monkeypatch):
    monkeypatch.setattr(cache, "_LIMIT_BYTES", 2500)
    for age, name in enumerate(("newest", "middle", "oldest")):
        cache.store(name, bytes(1000))
        if (folder / f"{name}.o").exists():
            os.utime(folder / f"{name}.o", (1e9 - age, 1e9 - age))
    cache.store("one more", bytes(1000))
    assert cache.load("one more") is not None
    assert cache.load("oldest") is None


def test_fingerprint_sees_what_matters():
    def key(fn, *shapes, shared=False):
        closed = jax.make_jaxpr(fn)(*shapes)
        arguments = [Argument(np.dtype(s.dtype), s.ndim == 1, shared) for s in shapes]
        return fingerprint(closed.jaxpr, arguments, "")

    x = np.ones(())
    base = key(lambda x: x * 2.0, x)
    assert key(lambda y: y * 2.0, x) == base
    assert key(lambda x: x * 2.5, x) != base
    assert key(lambda x: x * -2.0, x) != base
    assert key(lambda x: x + 2.0, x) != base
    assert key(lambda x: x * 2.0, x, shared=True) != base
    assert key(lambda x: x * np.float32(2), np.ones((), np.float32)) != base
    assert key(lambda x: jnp.where(x > 0.0, 0.0, x), x) != key(lambda x: jnp.where(x > 0.0, -0.0, x), x)
    assert key(lambda x, y: x - y, x, x) != key(lambda x, y: y - x, x, x)
    assert key(lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c * 2.0, x), x) != key(
        lambda x: jax.lax.fori_loop(0, 4, lambda i, c: c * 2.0, x), x
    )
    assert key(lambda x: x.astype(jnp.int32), x) != key(lambda x: x.astype(jnp.int64), x)
    assert key(lambda x: jax.lax.round(x), x) != key(lambda x: jnp.round(x), x)


@pytest.mark.parametrize("form", ["zip", "compiled"])
def test_fingerprint_sees_another_compiler_however_it_is_installed(tmp_path, form):
    """In a zip file, or as bytecode alone: a kernel of another version of the compiler is never taken for this one's."""
    found = []
    for version, line in enumerate(["", "", "CHANGED = 1\n"]):
        home = tmp_path / f"{version}"
        shutil.copytree(pathlib.Path(cpu.__file__).parent, home / "vht_kernels", ignore=shutil.ignore_patterns("*.pyc"))
        with (home / "vht_kernels" / "cpu.py").open("a") as file:
            file.write(line)
        if form == "compiled":
            for source in home.rglob("*.py"):
                py_compile.compile(
                    str(source),
                    str(source) + "c",
                    dfile=source.name,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                source.unlink()
        else:
            home = pathlib.Path(shutil.make_archive(str(home), "zip", home))
        script = "from vht_kernels import fingerprint; print(fingerprint.__file__, fingerprint.compiler_version())"
        env = os.environ | {"PYTHONPATH": str(home)}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        place, digest = done.stdout.split(maxsplit=1)
        assert place.startswith(str(home))
        found.append(digest)
    assert found[0] == found[1] != found[2]


def test_layout_of_the_call_frame():
    """Byte offsets on 64-bit machines, as XLA 0.3 of the interface lays them out; the parser must find the same."""
    assert abi.version()[0] == 0
    frame, args = abi.layout("XLA_FFI_CallFrame")[0], abi.layout("XLA_FFI_Args")[0]
    assert (frame["extension_start"], frame["api"], frame["ctx"], frame["stage"]) == (8, 16, 24, 32)
    assert frame["args"] + args["args"] == 72
    assert frame["rets"] + abi.layout("XLA_FFI_Rets")[0]["rets"] == 112
    buffer = abi.layout("XLA_FFI_Buffer")[0]
    assert (buffer["dtype"], buffer["data"], buffer["rank"], buffer["dims"]) == (16, 24, 32, 40)
    with pytest.raises(LookupError, match="XLA_FFI_Nothing"):
        abi.layout("XLA_FFI_Nothing")


def test_layouts_agree_with_a_c_compiler(tmp_path):
    compiler = next((c for c in ("cc", "gcc", "clang") if _runs(c)), None)
    structs = ("XLA_FFI_CallFrame", "XLA_FFI_Api", "XLA_FFI_Metadata", "XLA_FFI_Metadata_Extension", "XLA_FFI_Buffer")
    structs += ("XLA_FFI_ThreadPool_Schedule_Args", "XLA_FFI_ThreadPool_NumThreads_Args", "XLA_FFI_Error_Create_Args")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    lines = [f'printf("{s}.{f} %zu\\n", offsetof({s}, {f}));' for s in structs for f in abi.layout(s)[0]]
    lines += [f'printf("{s} %zu\\n", sizeof({s}));' for s in structs]
    source = tmp_path / "layout.c"
    include = "#include <stddef.h>\n#include <stdio.h>\n#include <stdint.h>\n#include <stdbool.h>\n"
    source.write_text(f'{include}#include "xla/ffi/api/c_api.h"\nint main(void) {{ {" ".join(lines)} return 0; }}\n')
    program = tmp_path / "layout"
    subprocess.run([compiler, f"-I{jax.ffi.include_dir()}", str(source), "-o", str(program)], check=True)
    found = dict(re.findall(r"(\S+) (\d+)", subprocess.run([program], capture_output=True, text=True).stdout))
    for s in structs:
        offsets, size = abi.layout(s)
        assert int(found[s]) == size
        assert {f: int(found[f"{s}.{f}"]) for f in offsets} == offsets


def _runs(command):
    try:
        return subprocess.run([command, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def test_a_missing_function_is_refused():
    code = cpu.compile_object("define i64 @one() { ret i64 1 }")
    assert cpu.load_object(code, "one")
    with pytest.raises(ValueError, match="no function two"):
        cpu.load_object(code, "two")


def test_the_folder_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VHT_CACHE_DIR", "~/kept")
    assert cache.directory() == tmp_path / "kept"


def test_two_processes_share_a_fresh_cache(tmp_path):
    """Both start with nothing and write at once; both must come to the right result."""
    script = (
        "import os, numpy as np, jax, jax.numpy as jnp\n"
        "jax.config.update('jax_enable_x64', True)\n"
        "from vht_kernels import lanes\n"
        "x = np.linspace(0, 1, 100)\n"
        "out = lanes(lambda x: jnp.where(x > 0.3, x * x, x / 3.0))(x)\n"
        "assert np.allclose(out, np.where(x > 0.3, x * x, x / 3.0))\n"
    )
    env = os.environ | {"VHT_CACHE_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    running = [subprocess.Popen([sys.executable, "-c", script], env=env) for _ in range(2)]
    assert [p.wait() for p in running] == [0, 0]
    assert len(list((tmp_path / "kernels").glob("*.o"))) == 1


def test_jax_s_own_cache_knows_kernels_whatever_the_order_they_are_compiled_in(tmp_path):
    """And never takes one for another: here both have one name and one shape."""
    script = (
        "import sys, numpy as np, jax, jax.numpy as jnp\n"
        "from vht_kernels import lanes\n"
        "hits = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith('hits') else None)\n"
        "def named(outer):\n"
        "    def fn(x):\n"
        "        return outer(x) * 2.0\n"
        "    return fn\n"
        "x = np.linspace(0.0, 1.0, 7, dtype=np.float32)\n"
        "for name in sys.argv[1:]:\n"
        "    out = jax.jit(lanes(named(getattr(jnp, name))))(x)\n"
        "    assert np.allclose(out, 2.0 * getattr(np, name)(x), rtol=1e-6)\n"
        "print(len(hits))\n"
    )
    env = os.environ | {
        "VHT_CACHE_DIR": str(tmp_path / "ours"),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "theirs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }

    def hits(*names):
        command = [sys.executable, "-c", script, *names]
        return int(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)

    assert hits("sin", "cos") == 0
    assert hits("cos", "exp", "sin") == 2


@pytest.mark.parametrize(("name", "features", "bytes_"), [("x86-64-v3", "", 32), ("x86-64", "", 16)])
def test_older_processors_get_narrower_kernels(folder, monkeypatch, name, features, bytes_):
    """AVX2, and plain SSE2 without a fused multiply-add, give the same numbers on any x86-64 machine."""
    if "x86_64" not in cpu.llvm.get_process_triple():
        pytest.skip("not an x86-64 machine")
    cpu.host()  # sets LLVM up
    monkeypatch.setattr(cpu, "host", lambda: cpu.Host(name, features, bytes_))

    def fn(x, n):
        return jax.lax.fori_loop(0, n, lambda i, v: jnp.exp(jnp.sin(v)) * 0.3 + v / 3.0, x)

    x, n = np.linspace(-3.0, 3.0, 21), np.arange(21, dtype=np.int32) % 5
    kernel = lanes(fn)
    np.testing.assert_allclose(kernel(x, n), jax.vmap(fn)(x, n), rtol=1e-13)
    assert kernel.report(x, n).width == bytes_ // 8


def test_arm_processors_are_a_target():
    """NEON cannot run here, but a kernel with every kind of statement must compile for it."""
    text = str(_kernel_text(width=2))
    cpu.llvm.initialize_all_targets()
    cpu.llvm.initialize_all_asmprinters()
    target = cpu.llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="apple-m1", opt=2)
    module = cpu.llvm.parse_assembly(text)
    module.triple = "aarch64-unknown-linux-gnu"
    assembly = machine.emit_assembly(module)
    assert "fmla" in assembly and ".2d" in assembly
    handler = cpu.llvm.parse_assembly(handler_ir("kernel", 2, [True, False], 2, "aarch64"))
    handler.triple = module.triple
    assembly = machine.emit_assembly(handler).lower()
    assert re.search(r"mrs\s+\S+, fpcr", assembly) and len(re.findall(r"msr\s+fpcr", assembly)) == 2


def _kernel_text(width):
    from vht_kernels.lower import lower
    from vht_kernels.tables import full_like, read, write

    def fn(table, x):
        out = full_like(table, x)
        i, out = jax.lax.while_loop(
            lambda c: c[0] < 3,
            lambda c: (c[0] + 1, write(c[1], c[0], jnp.sin(x) * read(table, c[0]) + x)),
            (np.int32(0), out),
        )
        return out, jnp.where(x > 0.0, jnp.exp(x), x)

    closed = jax.make_jaxpr(fn)(np.zeros(4), np.zeros(()))
    arguments = [Argument(np.dtype(np.float64), True, False), Argument(np.dtype(np.float64), False, False)]
    return lower(closed, arguments, width, "kernel").module
