"""Lanes on an NVIDIA GPU: whether they are right, and how fast beside other solvers there.

Needs a driver, `jax[cuda13]`, diffrax, equinox, jaxtyping, llvmlite, NumPy and SciPy. Of this package only the solver is
imported, so that pydantic, typer, rich and zarr need not be there; the part `calibration` also wants pint, with flexcache,
flexparser and platformdirs. nvcc brings the kernels written by hand, the extra ``pip install -e ".[gpu]"`` CuBIE and gradsolve;
what is missing is told. No network is asked.

    python -m benchmarks gpu                        (or -m benchmarks.gpu) all parts, most important first, within --seconds
    python -m benchmarks gpu targets                what numbers are wanted of, in a few minutes
    python -m benchmarks gpu lorenz circulation     these
    python -m benchmarks gpu --dry-run              all at tiny sizes on the CPU: no record
    python -m benchmarks gpu --last calibration     of each part the last case only
    python -m benchmarks gpu --list                 the parts, and which cases are in each

From files of a checkout in which nothing was installed, the record to say which they are:

    GIT_COMMIT=... PYTHONPATH=kernels:. python3 -m benchmarks gpu targets

CuBIE's compiler is a wheel of 71 MB, with another 30 MB of what it needs (cuda-bindings, cuda-core, cuda-pathfinder, sympy,
mpmath, lxml, networkx, rdflib, pyparsing, attrs, pint); gradsolve is 0.2 MB of Python.

One case after another is checked, timed and written to the record at once, so that a run that is cut keeps what it has. A case
that fails is recorded with what it said; one that has begun is not stopped. Exit codes: 0 done, 1 a target missed or a case
failed, 2 no GPU.
"""
