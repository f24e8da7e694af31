"""Proof that the tests of D1 to D10 hold on to their guards: each guard is taken out, or replaced by one that lies, and
its tests have to fail. `python -m tests.mutants` does it for all of them."""
