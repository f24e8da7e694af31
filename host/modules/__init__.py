"""Tenants' code: fetched, pinned by hash, admitted, compiled, and handed to actors ready to run."""
