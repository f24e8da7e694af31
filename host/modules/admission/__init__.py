"""Admission: a module's bytes are read by rules before anybody compiles them.

`precheck` is cheap and runs in the host; `survey` walks everything and makes the report that is stored with the module;
`rewrite` makes the bytes that are compiled. All three are pure, know no engine, and raise `TenantError`s of the group
`module`: what is refused is refused by a rule that the error names, with limit and value.
"""

from __future__ import annotations

from host.modules.admission.rewrite import rewrite
from host.modules.admission.survey import precheck, survey, survey_js

__all__ = ["precheck", "rewrite", "survey", "survey_js"]
