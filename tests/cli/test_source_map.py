"""Source maps: places in a bundle are places in the sources again."""

from __future__ import annotations

import msgspec
import pytest

from host.cli.source_map import read_source_map


def document(mappings: str, sources: tuple[str, ...] = ("a.ts", "b.ts"), version: int = 3) -> bytes:
    return msgspec.json.encode({"version": version, "sources": sources, "names": [], "mappings": mappings})


def test_a_place_is_the_last_mapping_at_or_before_it() -> None:
    # line 1: column 0 is a.ts 1:1, column 4 is a.ts 1:9; line 2 has none; line 3: column 2 is b.ts 17:1
    found = read_source_map(document("AAAA,IAAQ;;ECgBR"))
    assert found.original(1, 1) == ("a.ts", 1, 1)
    assert found.original(1, 4) == ("a.ts", 1, 1)
    assert found.original(1, 5) == found.original(1, 900) == ("a.ts", 1, 9)
    assert found.original(3, 3) == ("b.ts", 17, 1)


def test_what_the_bundler_wrote_itself_has_no_place() -> None:
    found = read_source_map(document(";E,IAAA"))
    assert found.original(1, 1) is None
    assert found.original(2, 2) is None
    assert found.original(2, 7) == ("a.ts", 1, 1)
    assert [found.original(line, 1) for line in (-1, 0, 3, 10**9)] == [None] * 4


def test_numbers_of_many_digits_are_read() -> None:
    # 1,000 and then back by 1,000
    found = read_source_map(document("AAw+BA,CAx+BA"))
    assert found.original(1, 1) == ("a.ts", 1_001, 1)
    assert found.original(1, 2) == ("a.ts", 1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        b"{}",
        b"no JSON",
        document("AAAA", version=2),
        document("AAA*"),
        document("AAAg"),
        document("AEAA"),
        document("ADAA"),
    ],
)
def test_what_is_no_source_map_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError):
        read_source_map(wrong)
