"""What a client's profile can say: its terms, what each may be set to, and how that reads. Pure."""

from dataclasses import dataclass
from decimal import Decimal

LIMIT = Decimal(10) ** 18
NO_LIMIT = "no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One line of a profile: chosen from words, or a number in a unit that holds at most or at least."""

    key: str
    label: str
    meaning: str
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    bound: str = "at most"
    highest: Decimal = LIMIT

    @property
    def is_limit(self) -> bool:
        return not self.choices

    def describe(self, choice: str, limit: Decimal | None) -> str:
        """What it is set to, as a person reads it."""
        if self.choices:
            return dict(self.choices).get(choice, choice)
        return NO_LIMIT if limit is None else f"{self.bound} {written(limit, self.unit)}"


def plain(number: Decimal, grouped: str = "") -> str:
    """A number without the zeros that NUMERIC pads."""
    text = f"{number:{grouped}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def written(number: Decimal, unit: str) -> str:
    """A limit with its unit, in groups of three."""
    text = plain(number, ",")
    return f"{text}×" if unit == "×" else f"{text} {unit}"


TERMS: dict[str, Term] = {
    term.key: term
    for term in (
        Term(
            key="risk_tolerance",
            label="Risk tolerance",
            meaning="How much loss the client says they can bear.",
            choices=(
                ("cautious", "Cautious"),
                ("balanced", "Balanced"),
                ("growth", "Growth"),
                ("speculative", "Speculative"),
            ),
        ),
        Term(
            key="category",
            label="Client category",
            meaning="Which rules protect the client.",
            choices=(
                ("retail", "Retail"),
                ("professional", "Professional"),
                ("eligible_counterparty", "Eligible counterparty"),
            ),
        ),
        Term(
            key="max_effective_leverage",
            label="Effective leverage",
            meaning="The highest effective leverage of any position.",
            unit="×",
            highest=Decimal(1000),
        ),
        Term(
            key="max_position_share",
            label="Share in one position",
            meaning="The largest share of the client's isolated margin that stands in one position.",
            unit="%",
            highest=Decimal(100),
        ),
        Term(
            key="max_isolated_margin",
            label="Isolated margin in all",
            meaning="The most isolated margin in all positions together.",
            unit="USD",
        ),
        Term(
            key="max_loss_per_position",
            label="Loss of one position",
            meaning="The most that a single position can lose.",
            unit="USD",
        ),
        Term(
            key="min_distance",
            label="Distance to liquidation",
            meaning="The closest that any position may stand to its liquidation price.",
            unit="%",
            bound="at least",
            highest=Decimal(100),
        ),
    )
}
