"""Types as they stand in the bytes: values, functions, limits, tables, memories, and constant expressions.

What another proposal would put in the same place is recognised and refused by that proposal's name.
"""

from __future__ import annotations

from host.isolate.signatures import Signature
from host.isolate.wasmbin import Reader
from host.model.limits import Limits
from host.model.report import MemoryInfo, TableInfo
from host.modules.admission.refusals import check, malformed, not_offered

__all__ = [
    "VALUE_TYPES",
    "read_constant",
    "read_memory",
    "read_reference_type",
    "read_signature",
    "read_table",
    "read_value_type",
]

VALUE_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}
_KNOWN = bytes(VALUE_TYPES)
_USES = {"v128": "simd", "funcref": "reference-types", "externref": "reference-types"}

# Type codes of proposals that are off.
_OTHERS = {
    **dict.fromkeys((0x63, 0x64), "function-references"),
    **dict.fromkeys((0x69, 0x74), "exceptions"),
    **dict.fromkeys((0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x71, 0x72, 0x73, 0x77, 0x78, 0x4E, 0x4F, 0x50, 0x5E, 0x5F), "gc"),
    **dict.fromkeys((0x5D, 0x68, 0x75), "stack-switching"),
    **dict.fromkeys((0x65,), "shared-everything"),
}

MAX_PAGES = 65_536
MAX_ELEMENTS = 2**32 - 1


def _unknown(code: int, what: str) -> Exception:
    proposal = _OTHERS.get(code)
    if proposal is not None:
        return not_offered(proposal, f"{what} {code:#04x}")
    return malformed(f"there is no {what} {code:#04x}")


def read_value_type(reader: Reader, uses: set[str]) -> str:
    code = reader.byte()
    name = VALUE_TYPES.get(code)
    if name is None:
        raise _unknown(code, "value type")
    if name in _USES:
        uses.add(_USES[name])
    return name


def read_reference_type(reader: Reader) -> str:
    code = reader.byte()
    if code not in (0x70, 0x6F):
        raise _unknown(code, "reference type")
    return VALUE_TYPES[code]


def _value_types(reader: Reader, limits: Limits, uses: set[str]) -> tuple[str, ...]:
    count = reader.unsigned()
    check(limits, "module_values", count, "pass what is more through memory")
    codes = reader.take(count)
    strange = codes.translate(None, _KNOWN)
    if strange:
        raise _unknown(strange[0], "value type")
    names = tuple([VALUE_TYPES[code] for code in codes])
    uses.update(_USES[name] for name in {*names} & _USES.keys())
    return names


def read_signature(reader: Reader, limits: Limits, uses: set[str]) -> Signature:
    """One entry of the type section."""
    form = reader.byte()
    if form != 0x60:
        raise _unknown(form, "form of a type")
    signature = (_value_types(reader, limits, uses), _value_types(reader, limits, uses))
    if len(signature[1]) > 1:
        uses.add("multi-value")
    return signature


def _read_limits(reader: Reader, what: str) -> tuple[int, int | None]:
    flags = reader.byte()
    if flags not in (0, 1):
        for bit, proposal in ((2, "threads"), (4, "memory64"), (8, "custom-page-sizes")):
            if flags & bit and flags < 16:
                raise not_offered(proposal, f"a {what} with the flags {flags:#x}")
        raise malformed(f"a {what} has the flags {flags:#x}")
    # written as numbers of 64 bits even where 32 are allowed: padding may be longer than one would think
    least = reader.unsigned(64)
    most = reader.unsigned(64) if flags else None
    if most is not None and most < least:
        raise malformed(f"a {what} has the maximum {most} below its minimum {least}")
    return least, most


def read_memory(reader: Reader) -> MemoryInfo:
    least, most = _read_limits(reader, "memory")
    if max(least, most or 0) > MAX_PAGES:
        raise malformed(f"a memory of more than {MAX_PAGES} pages")
    return MemoryInfo(least, most)


def read_table(reader: Reader) -> TableInfo:
    kind = reader.byte()
    if kind == 0x40:
        raise not_offered("function-references", "a table with an initial value")
    if kind not in (0x70, 0x6F):
        raise _unknown(kind, "reference type")
    least, most = _read_limits(reader, "table")
    if max(least, most or 0) > MAX_ELEMENTS:
        raise malformed(f"a table of more than {MAX_ELEMENTS} elements")
    return TableInfo(VALUE_TYPES[kind], least, most)


_EXTENDED = frozenset((0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E))


def read_constant(reader: Reader, uses: set[str]) -> None:
    """Past one constant expression. Without the proposals that are off it is one instruction and `end`."""
    operation = reader.byte()
    if operation == 0x41:
        reader.signed(32)
    elif operation == 0x42:
        reader.signed(64)
    elif operation == 0x43:
        reader.take(4)
    elif operation == 0x44:
        reader.take(8)
    elif operation == 0x23:
        reader.unsigned()
    elif operation == 0xD2:
        uses.add("reference-types")
        reader.unsigned()
    elif operation == 0xD0:
        uses.add("reference-types")
        read_reference_type(reader)
    elif operation == 0xFD:
        uses.add("simd")
        if reader.unsigned() != 12:
            raise malformed("a vector instruction in a constant expression is not v128.const")
        reader.take(16)
    elif operation == 0xFB:
        raise not_offered("gc", "an instruction 0xfb in a constant expression")
    else:
        raise malformed(f"instruction {operation:#04x} in a constant expression")
    following = reader.byte()
    if following == 0x0B:
        return
    if following in (0x23, 0x41, 0x42) or following in _EXTENDED:
        raise not_offered("extended-const", "a constant expression of more than one instruction")
    if following == 0xFB:
        raise not_offered("gc", "an instruction 0xfb in a constant expression")
    raise malformed("a constant expression of more than one instruction")
