"""Performance, measured: `python -m benchmarks`. Not part of the tests."""
