"""The self-test: what a hostile tenant or client may try, tried on the operator's own machine."""
