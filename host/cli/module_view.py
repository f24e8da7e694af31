"""A module for people: what it may do, how large its parts are, and what it shares with the host.

Names in a module are a stranger's text, so they are shown with everything escaped that a terminal would act upon.
"""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from host.cli.actors import moment
from host.client.records import ModuleDetails
from host.model.report import ModuleReport

__all__ = ["show_module"]

# (label, field of the report): the numbers of a wasm module, in the order of its sections.
_COUNTS = (
    ("types", "types"),
    ("functions", "functions"),
    ("code", "code_bytes"),
    ("largest body", "largest_body"),
    ("most locals", "most_locals"),
    ("deepest nesting", "deepest_nesting"),
    ("largest br_table", "largest_br_table"),
    ("globals", "globals"),
    ("element segments", "element_segments"),
    ("elements", "elements"),
    ("data segments", "data_segments"),
    ("data", "data_bytes"),
    ("names", "names_bytes"),
)
_BYTES = frozenset({"code_bytes", "largest_body", "data_bytes", "names_bytes"})


def show_module(console: Console, module: ModuleDetails) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(module):
        facts.add_row(name, Text(value))
    console.print(Panel(facts, title=Text(f"{module.kind} module"), title_align="left"))
    report = module.report
    if report is None:
        console.print("There is no report: the module was stored by an earlier version.")
        return
    for title, rows in (
        (("import", "type"), [(f"{each.module}.{each.name}", each.type) for each in report.imports]),
        (("export", "type"), [(each.name, f"{each.kind} {each.type}") for each in report.exports]),
        (("section", "bytes"), [(each.name, f"{each.size:,}") for each in report.sections]),
    ):
        if rows:
            table = Table(*title, box=None, header_style="bold", pad_edge=False)
            for first, second in rows:
                table.add_row(Text(_plain(first)), Text(second))
            console.print(table)


def _facts(module: ModuleDetails) -> list[tuple[str, str]]:
    facts = [("digest", module.digest), ("size", f"{module.size:,} bytes"), ("stored", moment(module.stored_at))]
    if module.source_url is not None:
        facts.append(("from", _plain(module.source_url)))
    manifest = module.manifest
    facts.append(("manifest", f"ABI {manifest.abi}, codec {manifest.codec}"))
    if manifest.name is not None:
        facts.append(("name", _plain(manifest.name)))
    return facts if module.report is None else facts + _found(module.report)


def _found(report: ModuleReport) -> list[tuple[str, str]]:
    facts = [("may use", ", ".join(report.capabilities))]
    if report.names:
        facts.append(("actors", ", ".join(report.names)))
    if report.lines:
        facts.append(("lines", f"{report.lines:,}"))
    for memory in report.memories:
        facts.append(("memory", f"{memory.minimum} pages, {_most(memory.maximum)}"))
    for table in report.tables:
        facts.append(("table", f"{table.minimum} {table.type}, {_most(table.maximum)}"))
    for label, name in _COUNTS:
        value: int = getattr(report, name)
        if value:
            facts.append((label, f"{value:,} bytes" if name in _BYTES else f"{value:,}"))
    if report.start:
        facts.append(("start function", "yes"))
    if report.proposals:
        facts.append(("proposals", ", ".join(report.proposals)))
    return facts


def _most(maximum: int | None) -> str:
    return "no maximum" if maximum is None else f"at most {maximum}"


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
