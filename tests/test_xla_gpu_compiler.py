"""XLA's own compiler for NVIDIA GPUs takes programs with kernels, without a GPU, where JAX's plugin is installed."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap

import pytest

PLUGINS = importlib.util.find_spec("jax_plugins") and ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")
PLUGIN = next((name for name in PLUGINS or () if importlib.util.find_spec(name)), None)
pytestmark = pytest.mark.skipif(
    PLUGIN is None, reason='JAX\'s plugin for GPUs is not installed (`pip install "jax[cuda13]"`)'
)
# a card as XLA describes it: the H100 of the file gpu_specs/h100_sxm.txtpb in XLA's sources
CARD = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
SCRIPT = """
    import json, sys
    import jax, jax.numpy as jnp, numpy as np
    from jax.experimental import topologies
    from jax._src import xla_bridge
    from vht_kernels import driver, full_like, lanes, read, write

    jax.config.update("jax_enable_x64", True)
    xla_bridge.backends()
    topology = topologies.get_topology_desc(platform="cuda", target_config=sys.argv[1], topology=f"1x1x{sys.argv[2]}")
    known = xla_bridge.canonicalize_platform  # JAX looks for a device of the platform that it lowers for
    xla_bridge.canonicalize_platform = lambda name: "cuda" if name in ("gpu", "cuda") else known(name)
    mesh = topologies.make_mesh(topology, (int(sys.argv[2]),), ("d",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    # the driver would load the kernel, and is asked where its functions lie; nothing of it is called here
    driver.library = lambda: None
    driver.usable = lambda: (driver.Device(0, "card", (9, 0), 132, 80 << 30),)
    driver.load_kernel, driver.address = lambda ptx, name, ordinal: 4242, lambda function: 4243

    def f(x, own):
        return jnp.sin(x), write(full_like(own, 0.0), 0, x * read(own, 1))

    shapes = [jax.ShapeDtypeStruct(shape, np.float64, sharding=place) for shape in ((1000,), (1000, 7))]
    program = jax.jit(lanes(f)).trace(*shapes).lower(lowering_platforms=("cuda",))
    print(json.dumps(program.compile().as_text()))
"""


@pytest.mark.parametrize("devices", [1, 2])
def test_xla_compiles_a_program_with_a_kernel(devices, tmp_path):
    environment = {
        **os.environ,
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "JAX_PLATFORMS": "",
        "VHT_CACHE_DIR": str(tmp_path),
        "XLA_FLAGS": "--xla_gpu_autotune_level=0",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), CARD, str(devices)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = json.loads(done.stdout.splitlines()[-1])
    call = next(line for line in text.splitlines() if "custom-call(" in line)
    own = 1000 // devices
    assert f"f64[{own},7]{{0,1}}" in call.split("custom-call")[0], "the result's lanes lie side by side"
    assert f"operand_layout_constraints={{f64[{own}]{{0}}, f64[{own},7]{{0,1}}}}" in call
    assert "API_VERSION_TYPED_FFI" in call
