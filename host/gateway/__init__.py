"""Bytes of strangers become events, events become bytes: HTTP and WebSockets of both planes, and sockets that outlive
instances."""
