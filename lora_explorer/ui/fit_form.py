"""What a visitor typed about a run's data and price, read like any stranger's input, and what is proposed instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lora_explorer.errors import UnreadableYaml
from lora_explorer.findings import Finding
from lora_explorer.report.html import Html
from lora_explorer.ui.draft import Draft, read_yaml
from lora_explorer.ui.typed_numbers import typed_number

if TYPE_CHECKING:
    from lora_explorer.memory import Card
    from lora_explorer.speed import Price, Rows
    from lora_explorer.speed.data_sets import DataSetSize

MOST_ROWS, MOST_TOKENS = 10**12, 10**7
FIELDS = ("rows", "tokens", "price")
_LONGEST = 40
_FIELD_OF_SETTING: Mapping[str, str] = {
    **{name: name for name in FIELDS},
    "tokens_per_row": "tokens",
    "val_set_size": "rows",
}
"""The field at which a sentence stands; what is kept aside is told where the rows are, for it has no field."""


@dataclass(frozen=True)
class Form:
    """rows, tokens, price: as they were typed. number: of the question.

    proposed: the size of the data that the YAML names, which holds where nothing is typed; on_file: the card's price.
    kept_aside: rows, or their share, that are not trained on.
    """

    rows: str = ""
    tokens: str = ""
    price: str = ""
    number: Any = None
    proposed: DataSetSize | None = None
    on_file: Price | None = None
    kept_aside: float = 0.0

    @classmethod
    def from_page(cls, sent: Any) -> Form:
        """What is no text is left out."""
        given = sent if isinstance(sent, Mapping) else {}
        texts = {name: given[name][:_LONGEST] for name in FIELDS if isinstance(given.get(name), str)}
        return cls(**texts, number=number_of(sent))

    def proposing(self, draft: Draft, card: Card) -> Form:
        """With what the draft and the card tell."""
        from lora_explorer.speed import price_of
        from lora_explorer.speed.data_sets import size_of
        from lora_explorer.speed.run_length import kept_aside

        on_file = price_of(card.name)
        try:
            values = read_yaml(draft.written).values
        except UnreadableYaml:
            # That is told at the settings.
            return replace(self, on_file=on_file)
        return replace(self, proposed=size_of(values), on_file=on_file, kept_aside=kept_aside(values))

    def data(self) -> Rows | None:
        """None where nothing is known of it. Raises ExplorerError with the field at fault."""
        from lora_explorer.speed import Rows

        rows = typed_number(self.rows, "rows", "Rows", MOST_ROWS)
        tokens = typed_number(self.tokens, "tokens", "Tokens of a row", MOST_TOKENS)
        count = rows or (self.proposed.rows if self.proposed else None)
        length = tokens or (self.proposed.tokens if self.proposed else None)
        return None if count is None else Rows(int(count), int(length) if length else None, self.kept_aside)

    def price_an_hour(self) -> Price | None:
        """The one typed, else the one on file. Raises ExplorerError with the field at fault."""
        from lora_explorer.speed.prices import HIGHEST_PRICE, typed_price

        price = typed_number(self.price, "price", "The price of an hour", HIGHEST_PRICE, whole=False)
        return self.on_file if price is None else typed_price(price)

    def answered(self, *, said: Html | None, problems: Mapping[str, str] | None = None) -> dict[str, Any]:
        """For the page. said: None leaves what is there. hints: what holds where nothing is typed."""
        hints = {
            "rows": f"{self.proposed.rows:,}" if self.proposed else None,
            "tokens": f"{self.proposed.tokens:,}" if self.proposed and self.proposed.tokens else None,
            "price": f"{self.on_file.usd_per_hour:g}" if self.on_file else None,
        }
        typed = {name: getattr(self, name) for name in FIELDS}
        return {
            **typed,
            "asked": self.number,
            "answered": self.number,
            "said": said,
            "problems": problems or {},
            "hints": hints,
        }


def problems_among(findings: Iterable[Finding]) -> dict[str, str]:
    """Sentences by the field at which they stand; those of other settings are left out."""
    return {_FIELD_OF_SETTING[each.setting]: each.message for each in findings if each.setting in _FIELD_OF_SETTING}


def number_of(sent: Any) -> int | None:
    """Of a question, by which the page knows its answer."""
    number = sent.get("asked") if isinstance(sent, Mapping) else None
    return number if isinstance(number, int) else None
