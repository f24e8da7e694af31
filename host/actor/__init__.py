"""One actor: its lifecycle, mailbox, hops, hibernation."""
