"""`python -m host.modules.jail DESCRIPTOR`: the zygote, started by the host with one end of its control socket."""

from __future__ import annotations

import sys

from host.modules.jail.zygote import main

main(int(sys.argv[1]))
