"""Codecs without I/O: strict JSON, tagged Values, CBOR, and actor keys as text."""
