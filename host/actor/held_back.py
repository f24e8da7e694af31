"""What an actor has learnt about versions since its row was written: which one it could not start on, or that an
operator wants it to forget all that.

It is true for the next start, whose commit, of whichever outcome, writes it into the row.
"""

from __future__ import annotations

from msgspec.structs import replace

from host.model.records import ActorImage

__all__ = ["HeldBack"]


class HeldBack:
    __slots__ = ("_version", "released")

    def __init__(self) -> None:
        self._version: int | None = None
        # A reload: held back from nothing, and its attempts are counted from the beginning.
        self.released = False

    def hold(self, version: int) -> None:
        self._version, self.released = version, False

    def release(self) -> None:
        self._version, self.released = None, True

    def written(self) -> None:
        """The row says it now."""
        self._version, self.released = None, False

    def apply(self, image: ActorImage) -> ActorImage:
        """The image as the next start is to see it."""
        if self.released:
            return replace(image, record=replace(image.record, held_version=None, attempt=0))
        if self._version is not None:
            return replace(image, record=replace(image.record, held_version=self._version))
        return image
