"""A line of a file of clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLine:
    """One client, by the reference that is his own in the firm."""

    line: int
    reference: str
    name: str

    @property
    def key(self) -> str:
        return self.reference
