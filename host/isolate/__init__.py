"""Isolates: the engine, one store per actor, deadlines, limits, guest memory, host functions and the guest threads.

The only package that knows wasmtime. Import what you need from its modules; nothing is loaded by this file, so that the
binary reader (`wasmbin`) and the executor can be used without the native library.
"""
