"""A certificate for `module.test` that signs itself, and contexts for both ends that know it."""

from __future__ import annotations

import ssl
import tempfile

__all__ = ["NAME", "client_context", "server_context"]

NAME = "module.test"

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAttb2R1bGUu
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLbW9kdWxlLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ1WuuxDbSg
WtogfjFfhqJOrGPnhTC8TtghzvxZlVJw4wAy8vDbMx/GU2Y68oZJf5eb9P50pjtT
r4rLutRLyYN7o0owSDAWBgNVHREEDzANggttb2R1bGUudGVzdDAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBQSdMgtLdd4JIQyzIW5izB7RlBygjAKBggqhkjOPQQD
AgNIADBFAiEAhtEWAr6qqS6V7xp5AbYYcgT9hXRvbFq3k+WbSRStaTMCICivxcaK
9WLWthDXOyBieI7f53ANbDUFk4Rqf+d65B1A
-----END CERTIFICATE-----
"""

# Guards nothing: it belongs to the certificate above alone.
KEY = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIAmA9+yazbiWtNZXs+6UmdNa/3KVs6q+yzNT7x13VubgoAoGCCqGSM49
AwEHoUQDQgAENVrrsQ20oFraIH4xX4aiTqxj54UwvE7YIc78WZVScOMAMvLw2zMf
xlNmOvKGSX+Xm/T+dKY7U6+Ky7rUS8mDew==
-----END EC PRIVATE KEY-----
"""


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # the library reads chains from files only
        file.write(CERTIFICATE + KEY)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def client_context() -> ssl.SSLContext:
    """Checks names as every client does, and trusts this one certificate."""
    return ssl.create_default_context(cadata=CERTIFICATE)
