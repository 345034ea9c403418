"""Collections wait while a kernel is traced and written, and are afterwards as they were before."""

import gc
import threading

import jax.numpy as jnp
import pytest
from vht_kernels import lanes
from vht_kernels.garbage import paused


@pytest.fixture(params=[True, False])
def enabled(request):
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_collections_are_as_before_afterwards(enabled):
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() == enabled
    with pytest.raises(ZeroDivisionError), paused():
        _ = 1 / 0
    assert gc.isenabled() == enabled


def test_the_last_thread_lets_them_go_on(enabled):
    begun, release = threading.Event(), threading.Event()

    def other():
        with paused():
            begun.set()
            release.wait(60.0)

    with paused():
        thread = threading.Thread(target=other)
        thread.start()
        assert begun.wait(60.0)
    assert not gc.isenabled()
    release.set()
    thread.join()
    assert gc.isenabled() == enabled


def test_a_function_is_traced_without_collections():
    seen = []

    def fn(x):
        seen.append(gc.isenabled())
        return 2.0 * x

    before = gc.isenabled()
    assert lanes(fn)(jnp.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
    assert seen == [False] and gc.isenabled() == before
