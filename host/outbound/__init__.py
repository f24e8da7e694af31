"""What this host sends to strangers' servers: one way out, for modules by URL and for the requests of actors."""
