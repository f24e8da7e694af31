"""The step of the package build that puts the JavaScript engine into the wheel.

An editable install finds it in the tree; a source distribution leaves it out, since whoever installs it builds it.
"""

from __future__ import annotations

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["EngineBuildHook"]


class EngineBuildHook(BuildHookInterface[Any]):
    """Found by the build back end through `[tool.hatch.build.hooks.custom]`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        # The project is not installed yet, and the back end loads this file by its path.
        sys.path.insert(0, self.root)
        try:
            from isolate_sdk.build.engine import build_engine

            build_engine()
        finally:
            sys.path.remove(self.root)
        build_data["artifacts"].append("isolate_sdk/engine/engine.wasm")
