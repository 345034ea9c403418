"""CUDA C++ written by hand, and what writes out its eliminations."""
