"""An actor that cannot start on a version goes on with another one, and is held back from the former."""

from __future__ import annotations

from msgspec.structs import replace

from host.actor.definitions import ActorDefinition
from host.actor.held_back import HeldBack
from host.actor.instance import Instance
from host.actor.services import Services
from host.model.errors import DormiceError
from host.model.records import ActorImage, ActorRecord
from host.storage.driver import CommitUnknown
from host.telemetry.logging import get_logger

__all__ = ["FallingBack"]


class FallingBack:
    """`held` is what the actor's next start is to know of versions."""

    def __init__(self, actor_id: str, services: Services) -> None:
        self._services = services
        self._log = get_logger("actor").bind(actor_id=actor_id)
        self._forgotten = False
        self.held = HeldBack()

    async def instead_of(self, record: ActorRecord, instance: Instance) -> ActorDefinition | None:
        """What the actor is to run now that its start on the instance's version has failed; None if nothing else."""
        if instance.error is None:
            return None
        tried = instance.definition
        try:
            return await self._services.definitions.instead_of(tried, record, instance.error, instance.detail)
        except DormiceError as failure:
            self._log.warning("failed start not recorded on its deploy", error=failure.name)
        except CommitUnknown as failure:
            self._services.fatal(failure)
        return None

    def goes_back(self, instance: Instance, found: ActorDefinition) -> None:
        version = instance.definition.version
        self._services.metrics.count("fall_backs", "start_failed")
        self._log.warning("actor goes back", version=version, runs=found.version)
        self.held.hold(version)

    # --- what its row held it back from ---------------------------------------------------------------------------

    def reads(self) -> None:
        """The row is about to be read: what it says then is true."""
        self._forgotten = False

    def forget(self, instance: Instance | None) -> None:
        """The row has just been told that the actor is held back from nothing. What was read of it before must not be
        written back, by a start that is under way least of all."""
        self._forgotten = True
        self.settle(instance)

    def settle(self, instance: Instance | None) -> None:
        """The row may have been told so while the instance was made."""
        if self._forgotten and instance is not None:
            instance.forget_held()

    def apply(self, image: ActorImage) -> ActorImage:
        """The image as the next start is to see it."""
        if self._forgotten:
            image = replace(image, record=replace(image.record, held_version=None))
        return self.held.apply(image)
