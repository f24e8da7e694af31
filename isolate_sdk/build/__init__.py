"""Builds the JavaScript engine; used by the package build and by `python -m isolate_sdk.build`."""
