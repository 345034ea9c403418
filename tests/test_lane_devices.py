"""Lanes spread over several devices: the processor taken for four."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

# by the way to call: lanes of a device in the kernel's call, how the result is divided, and the largest error
SCRIPT = """
    import json, re
    import jax, jax.numpy as jnp, numpy as np
    from jax import lax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from vht_kernels import full_like, lanes, read, write

    jax.config.update("jax_enable_x64", True)

    def f(x, own, shared):
        return jnp.exp(x) * read(shared, 1), write(full_like(own, 0.0), 0, x * read(own, 1))

    def alone(fn, *args):
        text = jax.jit(fn).lower(*args).compile().as_text()
        calls = [line for line in text.splitlines() if "custom-call(" in line and "lanes_" in line]
        return [int(re.search(r"f64\\[([0-9]+)", line)[1]) for line in calls]

    def error(found, right):
        return max(float(np.abs(np.ravel(a) - np.ravel(b)).max()) for a, b in zip(found, right, strict=True))

    def placed(mesh, specs):
        return [jax.device_put(v, NamedSharding(mesh, s)) for v, s in zip((x, own, shared), specs, strict=True)]

    fn = lanes(f, in_axes=(0, 0, None))
    x, own, shared = np.linspace(0.0, 1.0, 16), np.arange(64.0).reshape(16, 4), np.arange(4.0)
    right = jax.vmap(f, in_axes=(0, 0, None))(x, own, shared)
    told = {}
    found = jax.pmap(fn, in_axes=(0, 0, None))(x.reshape(4, 4), own.reshape(4, 4, 4), shared)
    told["pmap"] = [[found[0].addressable_shards[0].data.size], "", error(found, right)]
    layouts = {
        "as wanted": (P("a"), P("a"), P()),
        "by both axes": (P(("a", "b")), P(("a", "b")), P()),
        "one array": (P(), P("a"), P("b")),
        "across": (P("a"), P("b"), P("b")),
        "entries too": (P("a"), P("a", "b"), P("a")),
        "nowhere": (P(), P(), P()),
    }
    for kinds in ("Auto Auto", "Explicit Explicit", "Explicit Auto", "Auto Explicit"):
        mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=tuple(AxisType[kind] for kind in kinds.split()))
        for layout, specs in layouts.items():
            args = placed(mesh, specs)
            found = fn(*args)
            told[f"{kinds}, {layout}"] = [alone(fn, *args), str(jax.typeof(found[0])), error(found, right)]
        some = jax.shard_map(fn, mesh=mesh, in_specs=layouts["as wanted"], out_specs=P("a"), axis_names={"a"})
        args = placed(mesh, layouts["as wanted"])
        told[f"{kinds}, shard_map over one axis"] = [alone(some, *args), "", error(jax.jit(some)(*args), right)]

    sine, y = lanes(jnp.sin), placed(mesh := jax.make_mesh((4,), ("a",), axis_types=(AxisType.Auto,)), (P("a"),) * 3)[0]
    ways = {
        "a number of lanes that four does not divide": lambda y: sine(y[:15]),
        "vmap": lambda y: jax.vmap(sine)(jnp.stack([y, 2.0 * y])),
        "loop": lambda y: lax.fori_loop(0, 3, lambda i, c: sine(c), y),
        "branch": lambda y: lax.cond(y[0] == 0.0, lambda: sine(y), lambda: y),
    }
    for way, call in ways.items():
        told[way] = [alone(call, y), "", error([jax.jit(call)(y)], [call(jax.device_put(x, jax.devices()[0]))])]
    print(json.dumps(told))
"""


# by name what `jax.vmap` gives and what `lanes` does: numbers, the type of a result, or the error
TYPES = """
    import json
    import jax, jax.numpy as jnp, numpy as np
    from jax import lax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from vht_kernels import full_like, lanes, length, read, scratch, write

    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    explicit = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Explicit,))
    w, q = jnp.array([2.0]), jnp.linspace(0.0, 1.5, 16)

    def spread(fn, out=P("d"), **options):
        return jax.shard_map(fn, mesh=mesh, in_specs=(P(), P("d")), out_specs=out, **options)(w, q)

    def typed(fn):
        seen = []
        spread(lambda w, q: (seen.append(str(jax.typeof(fn(w, q)))), q)[1])
        return seen[0]

    def cases(batch, entry):
        pair = batch(lambda v, w: jnp.sin(v * w), in_axes=(0, None))

        @jax.custom_jvp
        def sine(q, w):
            return pair(q, w)

        @sine.defjvp
        def _(primals, dots):
            (q, w), (q_dot, w_dot) = primals, dots
            slope = batch(lambda v, w: jnp.cos(v * w), in_axes=(0, None))(q, w)
            return sine(q, w), slope * (q_dot * w + q * w_dot)

        def captured(run):
            return spread(lambda w, q: batch(run(q.sum()))(q))

        def set_explicit(fn):
            with jax.set_mesh(explicit):
                return str(jax.typeof(fn(jax.device_put(q, NamedSharding(explicit, P("d"))))))

        def grad(fn):
            return jax.grad(fn, argnums=0)

        tables = batch(lambda v, t: lax.cond(v > 0.5, lambda: entry(t), lambda: v))
        return {
            "type of what differs": lambda: typed(lambda w, q: sine(q, w[0])),
            "type of what is the same": lambda: typed(lambda w, q: sine(w, w[0])),
            "type of a shared number that differs": lambda: typed(lambda w, q: sine(w, q[0])),
            "psum": lambda: spread(lambda w, q: lax.psum(sine(q, w[0]), "d"), P()),
            "gradient of a psum": lambda: spread(
                grad(lambda w, q: lax.psum((w * lax.stop_gradient(pair(q, 1.0))).sum(), "d")), P()
            ),
            "gradient of a sum": lambda: spread(grad(lambda w, q: (w * sine(q, 1.0)).sum()), P()),
            "gradient by a shared number": lambda: spread(grad(lambda w, q: sine(q, w[0]).sum()), P()),
            "gradient by lanes that are the same": lambda: spread(grad(lambda w, q: sine(w, q[0]).sum()), P()),
            "gradient around": lambda: jax.grad(
                lambda w: jax.shard_map(
                    lambda w, q: sine(q, w[0]), mesh=mesh, in_specs=(P(), P("d")), out_specs=P("d")
                )(w, q).sum()
            )(w),
            "refused": lambda: spread(lambda w, q: sine(q, w[0]), P()),
            "fori_loop": lambda: spread(lambda w, q: lax.fori_loop(0, 3, lambda i, c: sine(c, 2.0), q)),
            "scan": lambda: spread(lambda w, q: lax.scan(lambda c, _: (sine(c, 2.0), None), q, length=3)[0]),
            "cond": lambda: spread(lambda w, q: lax.cond(q[0] > 0.5, lambda: sine(q, w[0]), lambda: q)),
            "vmap": lambda: spread(lambda w, q: jax.vmap(sine, (1, 0), 1)(jnp.stack([q, q * q], 1), jnp.ones(2))),
            "captured": lambda: captured(lambda s: lambda v: v * s),
            "captured in a branch": lambda: captured(lambda s: lambda v: lax.cond(v > 1.0, lambda: v, lambda: s)),
            "captured in a loop": lambda: captured(
                lambda s: lambda v: lax.fori_loop(0, 3, lambda i, c: 0.5 * c + s, v)
            ),
            "entry in a branch": lambda: spread(lambda w, q: tables(q, jnp.stack([q, 2.0 * q], 1))),
            "gradient by a factor of an entry": lambda: spread(grad(lambda w, q: (w * entry(q)).sum()), P()),
            "jvp, unchecked": lambda: spread(
                lambda w, q: jax.jvp(lambda w: sine(q, w[0]), (w,), (w,))[1], check_vma=False
            ),
            "psum, unchecked": lambda: spread(lambda w, q: lax.psum(pair(q, w[0]), "d"), P(), check_vma=False),
            "type on an explicit mesh": lambda: set_explicit(lambda q: sine(q, 2.0)),
            "jvp on an explicit mesh": lambda: set_explicit(lambda q: jax.jvp(lambda q: sine(q, 2.0), (q,), (q,))[1]),
            "vmap on an explicit mesh": lambda: set_explicit(
                lambda q: jax.jit(jax.vmap(sine, (1, 0)))(jnp.stack([q, q * q], 1), jnp.ones(2))
            ),
        }

    def primitives(read, length, full_like, scratch, write):
        def tangent(w, q):
            table = full_like(q, w[0])
            return jax.jvp(lambda x: write(table, 1, x), (w[0],), (w[0],))[1]

        return {
            "type of `read`": lambda: typed(lambda w, q: read(w, lax.axis_index("d"))),
            "type of `length`": lambda: typed(lambda w, q: length(q)),
            "type of `full_like`": lambda: typed(lambda w, q: full_like(w, q[0])),
            "type of `scratch`": lambda: typed(lambda w, q: scratch(3, q[0])),
            "type of `write`": lambda: typed(lambda w, q: write(w, 0, q[0])),
            "derivative of `write`": lambda: typed(
                lambda w, q: jax.jvp(lambda x: write(q, 1, x), (w[0],), (w[0],))[1]
            ),
        }

    plain = (
        lambda t, i: t[i],
        lambda t: jnp.array(t.shape[0], np.int32),
        lambda t, fill: jnp.broadcast_to(fill, t.shape),
        lambda size, fill: jnp.broadcast_to(fill, (size,)),
        lambda t, i, x: t.at[i].set(x),
    )
    told = {}
    for made in (
        {**cases(jax.vmap, lambda t: t[1]), **primitives(*plain)},
        {**cases(lanes, lambda t: read(t, 1)), **primitives(read, length, full_like, scratch, write)},
    ):
        for name, case in made.items():
            try:
                found = case()
            except (TypeError, ValueError) as error:
                found = f"{type(error).__name__}: {error}".split(" ")[0]
            told.setdefault(name, []).append(found if isinstance(found, str) else np.ravel(found).tolist())
    print(json.dumps(told))
"""

SIMULATED = """
    import json
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import vht
    from vht.model import Organ, Scalar, Vars, param, port, state

    jax.config.update("jax_enable_x64", True)

    class Emptying(Organ):
        time = "s"
        k: Scalar = param(1.0, "1/s", "rate")
        inflow: Scalar = param(0.5, "mL/s", "inflow")

        class State(Vars):
            x: Scalar = state(1.0, "mL", "amount")

        class Out(Vars):
            y: Scalar = port("mL", "amount")

        def rates(self, t, x, u):
            return self.State(x=self.inflow - self.k * x.x)

        def outputs(self, t, x, u):
            return self.Out(y=x.x)

    def last(inflow, k):
        return vht.simulate(Emptying(), np.linspace(0.0, 1.0, 3), twins={"k": k, "inflow": inflow}).values["y"][:, -1]

    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    inflow, k = jnp.array(0.5), jnp.linspace(0.5, 2.0, 8)
    specs = dict(mesh=mesh, in_specs=(P(), P("d")))
    divided = jax.shard_map(lambda inflow, k: last(jnp.broadcast_to(inflow, k.shape), k), out_specs=P("d"), **specs)
    inside = jax.shard_map(
        lambda *at: jax.grad(lambda *at: last(jnp.broadcast_to(at[0], at[1].shape), at[1]).sum(), (0, 1))(*at),
        out_specs=(P(), P("d")),
        **specs,
    )
    weighted = jax.shard_map(
        lambda w, k: jax.grad(lambda w: (w * jax.lax.stop_gradient(last(jnp.ones_like(k), k))).sum())(w),
        out_specs=P(),
        **specs,
    )
    alone = lambda inflow, k: last(jnp.broadcast_to(inflow, k.shape), k)
    gradient = jax.grad(lambda *at: alone(*at).sum(), (0, 1))(inflow, k)
    told = {
        "values": (alone(inflow, k), divided(inflow, k)),
        "gradient around": (gradient, jax.grad(lambda *at: divided(*at).sum(), (0, 1))(inflow, k)),
        "gradient inside": (gradient, inside(inflow, k)),
        "gradient by a weight": (alone(jnp.array(1.0), k).sum(), weighted(inflow, k)),
    }
    emptying, times = Emptying(), np.linspace(0.0, 1.0, 3)
    others = {
        "diffrax": lambda k: vht.simulate(emptying, times, twins={"k": k}, backend="xla").values,
        "Rodas5P": lambda k: vht.simulate(emptying, times, twins={"k": k}, method=vht.Rodas5P()).values,
        "Jacobian": lambda k: vht.solve.simulate_with_jacobian(emptying, times, free=["k"], twins={"k": k})[1],
        "steady state": lambda k: (rest := vht.steady_state(emptying, twins={"k": k})).values | {"growth": rest.growth},
        "periodic state": lambda k: vht.periodic_state(emptying, 1.0, twins={"k": k}).values,
    }
    for kind in (AxisType.Auto, AxisType.Explicit):
        lying = jax.device_put(k, NamedSharding(jax.make_mesh((4,), ("d",), axis_types=(kind,)), P("d")))
        value = jax.jit(lambda k: last(jnp.full_like(k, 0.5), k))
        slope = jax.jit(jax.grad(lambda k: last(jnp.full_like(k, 0.5), k).sum()))
        told[f"values where twins lie, {kind}"] = (alone(inflow, k), value(lying))
        told[f"gradient where twins lie, {kind}"] = (gradient[1], slope(lying))
        for name, fn in others.items():
            told[f"{name} where twins lie, {kind}"] = (fn(k), jax.jit(fn)(lying))
        # whatever else lies on several devices, also where there are as many saves as twins
        for saves in (np.linspace(0.0, 1.0, 8), np.linspace(0.0, 1.0, 4)):
            spread = jax.device_put(saves, NamedSharding(lying.sharding.mesh, P("d")))
            at = lambda saves, k: vht.simulate(emptying, saves, twins={"k": k}).values["y"]
            for numbers, place in ((k, None), (lying, "d" if kind == AxisType.Explicit else None)):
                found = jax.jit(at)(spread, numbers)
                told[f"{saves.size} saves spread, twins {place}, {kind}"] = (at(saves, k), found)
                assert jax.typeof(found).sharding.spec == P(place, None), jax.typeof(found)
        for fn in (value, slope):
            calls = [line for line in fn.lower(lying).compile().as_text().splitlines() if "custom-call(" in line]
            assert calls and all("f64[2," in line for line in calls if "lanes_" in line), calls
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).tolist()
    print(json.dumps({name: [flat(right), flat(found)] for name, (right, found) in told.items()}))
"""


def _told(script):
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told():
    return _told(SCRIPT)


def test_kernels_are_right_however_arrays_lie(told):
    assert {name: error for name, (_, _, error) in told.items() if error > 1e-14} == {}


def test_each_device_computes_its_own_lanes(told):
    """Axes along which types tell nothing are free to divide the lanes; the others divide them as the types say."""
    assert told["pmap"][0] == [4]
    for layout in ("as wanted", "by both axes", "one array", "across", "entries too", "nowhere"):
        assert told[f"Auto Auto, {layout}"][:2] == [[4], "float64[16]"]
    for layout in ("as wanted", "one array", "across", "entries too"):
        assert told[f"Explicit Explicit, {layout}"][:2] == [[8], "float64[16@a]"]
        assert told[f"Explicit Auto, {layout}"][:2] == [[4], "float64[16@a]"]
    assert told["Explicit Explicit, by both axes"][:2] == [[4], "float64[16@(a,b)]"]
    assert told["Explicit Explicit, nowhere"][:2] == [[16], "float64[16]"]
    assert told["Auto Explicit, as wanted"][:2] == [[8], "float64[16]"]
    assert told["Auto Explicit, across"][:2] == [[4], "float64[16@b]"]


def test_a_part_of_a_mesh_may_be_divided_by_shard_map(told):
    assert told["Auto Auto, shard_map over one axis"][0] == [4]
    assert told["Explicit Explicit, shard_map over one axis"][0] == [8]


def test_what_is_around_a_kernel_does_not_matter(told):
    assert told["a number of lanes that four does not divide"][0] == [15]
    assert told["vmap"][0] == [8]
    assert told["loop"][0] == told["branch"][0] == [4]


def test_types_inside_a_mesh_are_those_of_vmap():
    """Without them derivatives by what the devices share are wrong, and what differs passes for the same."""
    told = _told(TYPES)
    assert [name for name, (right, _) in told.items() if "Error" in str(right)] == ["refused"]
    assert "V:d" in told["type of what differs"][0] and "V:d" not in told["type of what is the same"][0]
    assert "@d" in told["vmap on an explicit mesh"][0]
    for name, (right, found) in told.items():
        assert found == (right if isinstance(right, str) else pytest.approx(right, rel=1e-12, abs=1e-12)), name


def test_simulations_divided_among_devices_have_the_derivatives_of_one():
    for name, (right, found) in _told(SIMULATED).items():
        assert found == pytest.approx(right, rel=1e-9), name
