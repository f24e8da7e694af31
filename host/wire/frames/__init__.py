"""The frames and bodies of the client protocol (version 4), without I/O.

`to_server.py` has what a client sends over a /connect socket, `to_client.py` what it gets there, `bodies.py` what both
say over HTTP; each in the encodings `json`, `cbor` and `bare`. Whatever is wrong with what came is `request/invalid`.
Values travel inside the host as JSON, so that is what the functions take and give.
"""
