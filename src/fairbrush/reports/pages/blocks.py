"""A page as blocks: the same content for a browser and for paper.

Enters: text in the reader's language. Leaves: sections of paragraphs, tables, figures and pictures, which
``blocks.html`` and ``statement.typ`` set. The one rule: a block holds plain text, never markup; what comes
from people is a cell of its own, so that it cannot reorder the sentence around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from fairbrush.reports.pages.words import visible


class Kind(StrEnum):
    """How a cell is set."""

    TEXT = "text"
    NUMBER = "number"
    NAME = "name"
    CODE = "code"


@dataclass(frozen=True)
class Cell:
    text: str
    kind: Kind = Kind.TEXT

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", visible(self.text))


def number(text: str) -> Cell:
    return Cell(text, Kind.NUMBER)


def name(text: str) -> Cell:
    return Cell(text, Kind.NAME)


def code(text: str) -> Cell:
    return Cell(text, Kind.CODE)


@dataclass(frozen=True)
class Prose:
    text: str
    is_quiet: bool = False
    block: Literal["prose"] = "prose"


@dataclass(frozen=True)
class Notice:
    """What must not be overlooked."""

    text: str
    block: Literal["notice"] = "notice"


@dataclass(frozen=True)
class Heading:
    text: str
    block: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    pairs: Sequence[tuple[str, Cell]]
    block: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Figures:
    """A few large figures, each with what it is."""

    pairs: Sequence[tuple[str, str]]
    block: Literal["figures"] = "figures"


@dataclass(frozen=True)
class Table:
    """``caption``: what it shows. The first cell of a row names the row. ``totals``: how many of the last
    rows sum up those before. A column in which nothing stands is left out."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    totals: int = 0
    block: Literal["table"] = "table"

    def __post_init__(self) -> None:
        told = [place for place in range(len(self.columns)) if any(row[place].text for row in self.rows)]
        object.__setattr__(self, "columns", [self.columns[place] for place in told])
        object.__setattr__(self, "rows", [[row[place] for place in told] for row in self.rows])

    @property
    def numeric(self) -> list[int]:
        return [
            place
            for place in range(len(self.columns))
            if self.rows and all(row[place].kind is Kind.NUMBER or not row[place].text for row in self.rows)
        ]


@dataclass(frozen=True)
class Picture:
    """``address``: a ``data:`` address; None where the picture is not there. ``label``: what it is, for
    whoever does not see it; it stands beside the caption, and says something else."""

    address: str | None
    label: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    pictures: Sequence[Picture]
    block: Literal["pictures"] = "pictures"


@dataclass(frozen=True)
class Items:
    """A list; ``is_ordered``: steps, one after the other."""

    texts: Sequence[str]
    is_ordered: bool = False
    block: Literal["items"] = "items"


@dataclass(frozen=True)
class Commands:
    """What to type."""

    lines: Sequence[str]
    block: Literal["commands"] = "commands"


Block = Prose | Notice | Heading | Facts | Figures | Table | Pictures | Items | Commands


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
