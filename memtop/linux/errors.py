"""Every errno that a user can meet, turned into what failed, why, and what to do."""

from __future__ import annotations


class MemtopError(Exception):
    """A sentence for the user. Each subclass has an exit code of its own (see ``cli.exits``)."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what, self.why, self.remedy = what, why, remedy
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """What failed: why; what to do."""
        text = self.what + (f": {self.why}" if self.why else "")
        return text + (f" ({self.remedy})" if self.remedy else "")

    def shorter(self, *whats: str) -> tuple[str, ...]:
        """Shorter sentences, for where there is no room: each still says what to do, if anything can be done.

        Args:
            whats: shorter words for what failed.
        """
        whats = whats or (self.what,)
        if not self.remedy:
            return tuple(f"{what}: {self.why}" if self.why else what for what in whats)
        long = [f"{what}: {self.why} ({self.remedy})" for what in whats if self.why]
        short = [f"{what}: {remedy}" for remedy in (self.remedy, self.first_remedy) for what in whats]
        return *long, *short

    @property
    def first_remedy(self) -> str:
        """Of several things to do, the first."""
        return self.remedy.partition(", or ")[0]


class ProcessGone(MemtopError):
    """No such process, or its address space ended."""


class NotPermitted(MemtopError):
    """The kernel or a sandbox refuses this user."""


class KernelCannot(MemtopError):
    """This kernel, processor or build has no such feature."""


class Misused(MemtopError):
    """What the user wrote, on the command line or in a file, means nothing."""


class Failed(MemtopError):
    """Anything else that went wrong, in words."""
