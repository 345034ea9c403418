"""Lanes spread over several devices: the processor taken for four."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import json
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    from vht_kernels import full_like, lanes, read, write

    jax.config.update("jax_enable_x64", True)

    def f(x, own, shared):
        return jnp.exp(x) * read(shared, 1), write(full_like(own, 0.0), 0, x * read(own, 1))

    fn = lanes(f, in_axes=(0, 0, None))
    x, own, shared = np.linspace(0.0, 1.0, 16), np.arange(64.0).reshape(16, 4), np.arange(3.0)
    right = jax.vmap(f, in_axes=(0, 0, None))(x, own, shared)
    mesh = jax.make_mesh((4,), ("d",))
    spread = [jax.device_put(a, NamedSharding(mesh, P("d"))) for a in (x, own)]
    specs = (P("d"), P("d"), P())
    calls = {
        "eager": lambda: fn(*spread, shared),
        "jit": lambda: jax.jit(fn)(*spread, shared),
        "shard_map": lambda: jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=P("d")))(*spread, shared),
        "pmap": lambda: jax.pmap(fn, in_axes=(0, 0, None))(x.reshape(4, 4), own.reshape(4, 4, 4), shared),
    }
    told = {}
    for name, call in calls.items():
        found = call()
        for got, expected in zip(found, right, strict=True):
            np.testing.assert_allclose(np.asarray(got).reshape(expected.shape), expected, rtol=1e-14)
        told[name] = [found[0].addressable_shards[0].data.size, len(found[0].devices())]
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """For each way to call: how many numbers of a result the first device holds, and how many devices hold some."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", ["shard_map", "pmap"])
def test_each_device_computes_its_own_lanes(told, way):
    assert told[way] == [4, 4]


@pytest.mark.parametrize("way", ["eager", "jit"])
def test_xla_does_not_divide_a_kernel_by_itself(told, way):
    # right results, but all lanes on every device: the README tells to use `shard_map`
    assert told[way] == [16, 4]
