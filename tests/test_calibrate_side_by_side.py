"""Slices of a cohort searched in threads."""

import contextlib
import dataclasses
import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from closed_forms import Oral, closed_form, measured_problem, oral

from vht.calibrate import Additive, Free, LevenbergMarquardt, calibrate, estimators
from vht.calibrate.estimators import calibrate_with
from vht.calibrate.side_by_side import side_by_side
from vht.solve.device import Place

METHOD = LevenbergMarquardt(lanes=5)


@pytest.fixture
def problem(rng):
    """Twenty-three twins, of which one starts where nothing can be found."""
    truth = np.array([1.5, 2.8, 32.0]) * np.exp(0.2 * rng.normal(size=(23, 3)))
    times = np.tile(np.geomspace(0.3, 24.0, 10), (23, 1))
    start = np.where(np.arange(23) == 7, np.nan, 1.0)
    free = {"ka": Free(start=start), "CL": Free(), "V": Free()}
    return measured_problem(Oral, free, oral, truth, times, Additive(), lambda f: 0.1)


def test_results_come_in_the_order_of_the_jobs():
    def job(number, here):
        time.sleep(0.02 * (3 - number))
        return here(lambda x: (x, threading.get_ident()), number), threading.get_ident()

    def jobs():
        return [lambda here, number=number: job(number, here) for number in range(4)]

    mine = threading.get_ident()
    for threads in (1, 3, 9):
        found = side_by_side(jobs(), threads)
        assert [answer for answer, _ in found] == [(number, mine) for number in range(4)]
        assert [place == mine for _, place in found] == [threads == 1] * 4
    assert side_by_side([], 3) == []


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("where", ["job", "caller"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_one_job_raises_ends_all(threads, where, kind):
    turns = []

    def fail():
        raise kind("no more")

    def failing(here):
        here(turns.append, 0)
        return here(fail) if where == "caller" else fail()

    def endless(here):
        while True:
            here(turns.append, 1)

    with pytest.raises(kind, match="no more"):
        side_by_side([failing, endless, endless, endless, endless], threads)
    assert turns and not any(thread.name.startswith("vht-calibrate") for thread in threading.enumerate())


INTERRUPTED = """
import os, signal, threading, time
from vht.calibrate.side_by_side import side_by_side

def job(here):
    while True:
        here(lambda: None)

# a process that a shell started in the background is deaf to it
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    side_by_side([job] * 5, 4)
except KeyboardInterrupt:
    print("ended with", threading.active_count() - 1, "threads")
"""


def test_ctrl_c_ends_all_wherever_it_comes():
    # between any two instructions of the caller's thread: some of the places are rare
    command = [sys.executable, "-c", INTERRUPTED]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(4)]
        for process in running:
            stack.callback(process.kill)
        assert {process.communicate(timeout=120)[0] for process in running} == {"ended with 0 threads\n"}


def test_jobs_take_numbers_as_the_caller_does():
    with np.errstate(over="raise"):
        for threads in (1, 2):
            with pytest.raises(FloatingPointError):
                side_by_side([lambda here: np.float64(1e300) * np.float64(1e300)] * 2, threads)


def test_slices_side_by_side_give_the_same_to_the_last_bit(problem):
    told = {}
    found = {}
    for searches in (1, 4):
        told[searches] = []
        found[searches] = calibrate_with(
            closed_form(problem, oral),
            problem,
            method=METHOD,
            searches=searches,
            progress=lambda done, total, searches=searches: told[searches].append((done, total)),
        )
    assert found[1].ok.sum() == 22
    for field in dataclasses.fields(found[1]):
        one, several = (getattr(found[searches], field.name) for searches in (1, 4))
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, several, err_msg=field.name)
    for rows in told.values():
        assert rows[-1] == (23, 23) and all(b >= a for (a, _), (b, _) in itertools.pairwise(rows))


def test_the_model_and_progress_stay_in_the_caller_s_thread(problem):
    threads = set()
    closed = closed_form(problem, oral)

    def predict(natural, twin):
        threads.add(threading.get_ident())
        return closed(natural, twin)

    calibrate_with(
        *(predict, problem),
        method=METHOD,
        searches=3,
        progress=lambda done, total: threads.add(threading.get_ident()),
    )
    assert threads == {threading.get_ident()}


def test_a_calibration_ends_when_progress_says_so(problem):
    def stop(done, total):
        if done > 5:
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        calibrate_with(closed_form(problem, oral), problem, method=METHOD, searches=3, progress=stop)


@pytest.mark.parametrize(("platform", "searches"), [("cpu", 1), ("gpu", 4)])
def test_only_beside_a_gpu_slices_are_searched_side_by_side(problem, monkeypatch, platform, searches):
    asked = []

    def side_by_side(jobs, threads):
        asked.append(threads)
        raise TimeoutError

    monkeypatch.setattr(estimators, "place", lambda device, backend: Place(platform, ()))
    monkeypatch.setattr(estimators, "side_by_side", side_by_side)
    with pytest.raises(TimeoutError):
        calibrate(problem)
    assert asked == [searches]
