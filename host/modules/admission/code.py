"""Function bodies: walked instruction by instruction, so that what they use and how deep they nest is known.

Nothing is validated here that does not change where an instruction ends: types and indexes are the compiler's. A body
has to end with the `end` of its function, exactly where its size says.
"""

from __future__ import annotations

from host.isolate.wasmbin import Reader
from host.model.errors import TenantError
from host.model.limits import Limits
from host.modules.admission.opcodes import IMMEDIATES, OFF_OPCODES, PLAIN, PREFIXED, WITH_PROPOSAL, run_pattern
from host.modules.admission.refusals import check, malformed, not_offered, over
from host.modules.admission.types import read_value_type

__all__ = ["CodeFacts", "read_code"]

_U32 = IMMEDIATES["u32"].match
_END, _BR_TABLE, _EMPTY = 0x0B, 0x0E, 0x40
_NESTING = frozenset((0x02, 0x03, 0x04))  # block, loop, if
# What may stand after those besides the index of a type.
_BLOCK_TYPES = frozenset((_EMPTY, 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
_BLOCK_USES = {0x7B: "simd", 0x70: "reference-types", 0x6F: "reference-types"}


class CodeFacts:
    """The largest of everything, over all bodies read so far."""

    __slots__ = ("br_table", "bytes", "largest", "locals", "nesting", "uses")

    def __init__(self, uses: set[str]) -> None:
        self.uses = uses
        self.bytes = self.largest = self.locals = self.nesting = self.br_table = 0


def read_code(section: bytes, params: list[int], limits: Limits, uses: set[str]) -> CodeFacts:
    """The whole code section; `params` is the number of parameters of each function that the module defines."""
    facts = CodeFacts(uses)
    reader = Reader(section)
    count = reader.unsigned()
    if count != len(params):
        raise malformed(f"{len(params)} functions are declared, {count} have a body")
    advice = "split the function, or compile with less inlining"
    for index, given in enumerate(params):
        size = reader.unsigned()
        check(limits, "module_body", size, advice)
        start, end = reader.at, reader.at + size
        if end > len(section):
            raise malformed(f"the body of function {index} ends beyond its section")
        facts.bytes += size
        facts.largest = max(facts.largest, size)
        try:
            at = _locals(section, start, end, given, limits, facts)
            _walk(section, at, end, limits, facts)
        except TenantError as error:
            # the place helps; what the error means stays as it is
            raise TenantError(
                error.group, error.code, f"{error.message} (function {index})", metadata=error.metadata
            ) from None
        reader.at = end
    if reader.left:
        raise malformed(f"{reader.left} bytes follow the last body")
    return facts


def _locals(data: bytes, at: int, end: int, params: int, limits: Limits, facts: CodeFacts) -> int:
    """Past the declarations of locals, counted as they are after expansion, parameters first."""
    if data[at : at + 1] == b"\0":
        total = params
        at += 1
    else:
        reader = Reader(data, at)
        total = params
        for _ in range(reader.unsigned()):
            total += reader.unsigned()
            check(limits, "module_locals", total, "keep what is more in memory")
            read_value_type(reader, facts.uses)
            if reader.at > end:
                break
        at = reader.at
    if at > end:
        raise malformed("a body ends among its locals")
    facts.locals = max(facts.locals, total)
    return at


def _walk(data: bytes, at: int, end: int, limits: Limits, facts: CodeFacts) -> None:
    depth = deepest = 1
    allowed = limits.module_nesting + 1
    run = run_pattern(frozenset(facts.uses)).match
    while at < end:
        code = data[at]
        if code == _END:
            at += 1
            depth -= 1
            if not depth:
                break
        elif code in _NESTING:
            if at + 1 < end and data[at + 1] == _EMPTY:
                at += 2
            else:
                at = _block_type(data, at + 1, end, facts.uses)
            depth += 1
            if depth > deepest:
                deepest = depth
                if depth > allowed:
                    raise over("module_nesting", depth - 1, allowed - 1, "split the function")
        else:
            found = run(data, at, end)
            assert found is not None  # it matches nothing, too
            if found.end() > at:
                at = found.end()
            elif code in PLAIN:
                raise malformed(f"instruction {code:#04x} has immediates that are none")
            else:
                known = len(facts.uses)
                at = _other(data, at, end, limits, facts)
                if len(facts.uses) > known:
                    run = run_pattern(frozenset(facts.uses)).match
    if depth:
        raise malformed("a body ends without `end`")
    if at != end:
        raise malformed(f"{end - at} bytes follow the end of a body")
    facts.nesting = max(facts.nesting, deepest - 1)


def _block_type(data: bytes, at: int, end: int, uses: set[str]) -> int:
    code = data[at] if at < end else -1
    if code in _BLOCK_TYPES:
        if code in _BLOCK_USES:
            uses.add(_BLOCK_USES[code])
        return at + 1
    if code & 0xC0 == 0x40 or code < 0:
        # a negative number of one byte, and so a type that is none; the reader knows its proposal
        reader = Reader(data[at:end])
        read_value_type(reader, uses)
    found = _U32(data, at, end)
    # a signed number of 33 bits that is not negative
    if found is None or (found.end() - at < 5 and data[found.end() - 1] & 0x40):
        raise malformed("a block has a type that is none")
    uses.add("multi-value")
    return found.end()


def _unsigned(data: bytes, at: int, end: int) -> tuple[int, int]:
    found = _U32(data, at, end)
    if found is None:
        raise malformed("a number is cut off, too long or too large")
    value = shift = 0
    for byte in found.group():
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, found.end()


def _other(data: bytes, at: int, end: int, limits: Limits, facts: CodeFacts) -> int:
    """Past an instruction that is not of the first version, or is br_table."""
    code = data[at]
    at += 1
    if code == _BR_TABLE:
        return _br_table(data, at, end, limits, facts)
    row = WITH_PROPOSAL.get(code)
    shown: int | tuple[int, int] = code
    if row is None and code in PREFIXED:
        number, at = _unsigned(data, at, end)
        row, shown = PREFIXED[code].get(number), (code, number)
    if row is None:
        name = f"instruction {code:#04x}" + (f" {shown[1]}" if isinstance(shown, tuple) else "")
        proposal = OFF_OPCODES.get(shown)
        if proposal is not None:
            raise not_offered(proposal, name)
        raise malformed(f"there is no {name}")
    shape, proposal = row
    facts.uses.add(proposal)
    if not shape:
        return at
    found = IMMEDIATES[shape].match(data, at, end)
    if found is None:
        raise malformed(f"instruction {code:#04x} has immediates that are none")
    return found.end()


def _br_table(data: bytes, at: int, end: int, limits: Limits, facts: CodeFacts) -> int:
    if at < end and data[at] < 0x80:
        count = data[at]
        at += 1
    else:
        count, at = _unsigned(data, at, end)
    check(limits, "module_br_table", count, "split the switch")
    facts.br_table = max(facts.br_table, count)
    targets = count + 1  # the default is the last
    short = data[at : at + targets]
    if short.isascii() and at + targets <= end:
        return at + targets
    for _ in range(targets):
        found = _U32(data, at, end)
        if found is None:
            raise malformed("a br_table is cut off")
        at = found.end()
    return at
