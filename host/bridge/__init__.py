"""The trust boundary: envelopes, the table of host calls, grants, budgets. What comes from a guest is hostile here."""
