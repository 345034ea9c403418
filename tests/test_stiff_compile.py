"""Compiling kernels of stiff models ends, and grows no faster than their equations."""

import subprocess
import sys
import textwrap

import jax
import numpy as np
from vht_kernels import program as compiling

from benchmarks.stiff_models import Hires, Oregonator, Pollu
from vht.model import parameters, states
from vht.solve import Rodas5P, simulate, simulate_with_jacobian


def test_a_loop_of_eight_turns_is_not_taken_for_a_checksum():
    # LLVM's look at it would take hours: the process would not end
    script = """
        import tempfile, os
        os.environ["VHT_CACHE_DIR"] = tempfile.mkdtemp()
        import numpy as np
        from jax import lax
        from benchmarks.stiff_models import Hires
        from vht.model import parameters
        from vht.solve import Rodas5P, simulate_with_jacobian, stiff
        stiff.Stiff.each = lambda self, body, carry: lax.fori_loop(np.int32(0), np.int32(self.m), body, carry)
        free = list(parameters(Hires))[:8]
        found, _ = simulate_with_jacobian(Hires(), np.array([1.0]), free=free, observe=["y1"], method=Rodas5P())
        print(found.status[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.strip() == "0", done.stderr


def _equations(model, directions):
    seen = []
    compile_program = compiling.compile_program
    compiling.compile_program = lambda program: (seen.append(program), compile_program(program))[1]
    try:
        names = list(parameters(model))[:directions]
        first = next(iter(states(model)))
        if names:
            simulate_with_jacobian(model(), np.array([1e-3]), free=names, observe=[first], method=Rodas5P())
        else:
            simulate(model(), np.array([1e-3]), observe=[first], method=Rodas5P())
    finally:
        compiling.compile_program = compile_program
        jax.clear_caches()
    return sum(program.equations for program in seen)


def test_equations_do_not_grow_with_the_number_of_directions():
    few, many = _equations(Hires, 2), _equations(Hires, 8)
    assert few < many < 1.1 * few


def test_equations_grow_with_the_model_not_its_square():
    # 3, 8 and 20 states with 5, 13 and 25 reactions' terms
    sizes = [_equations(model, 0) for model in (Oregonator, Hires, Pollu)]
    assert sizes[1] < 8 / 3 * 1.5 * sizes[0]
    assert sizes[2] < 20 / 8 * 1.5 * sizes[1]
