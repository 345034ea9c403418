"""Benchmarks: what this package does beside other ways of doing it, on the same machine and in the same process."""
