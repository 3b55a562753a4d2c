"""Answers of ``fairbrush attribute`` as rows and words. Enters: an ``Attribution``. Leaves: text and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fairbrush.cli.output import Row

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution

COLUMNS = ("image", "to", "id", "share", "low", "high", "similarity", "z", "attribution_id")


def rows_of(attribution: Attribution) -> Iterator[Row]:
    """One row for each who is paid a part, the model first, what is unattributed last."""
    image, key = str(attribution.image.path), attribution.attribution_id
    empty = {"low": None, "high": None, "similarity": None, "z": None, "attribution_id": key}
    model = str(attribution.identity["model_id"])
    yield {"image": image, "to": f"model {model}", "id": model, "share": attribution.model_share, **empty}
    for one in attribution.artists:
        low, high = one.interval or (None, None)
        yield {
            "image": image,
            "to": one.artist.name,
            "id": one.artist.artist_id,
            "share": one.share,
            "low": low,
            "high": high,
            "similarity": one.similarity,
            "z": one.z,
            "attribution_id": key,
        }
    low, high = attribution.unattributed_interval or (None, None)
    last = {**empty, "low": low, "high": high}
    yield {"image": image, "to": "(unattributed)", "id": None, "share": attribution.unattributed, **last}


def how_sure(attribution: Attribution) -> str:
    """One line about an image; only where intervals were asked for."""
    line = f"{attribution.image.path}: {attribution.confidence}"
    if attribution.steadiness is None:
        return line
    others = f"{attribution.steadiness:.0%} of other samples of the artists' works would"
    same = "pay the same hands at least half of it" if attribution.artists else "credit nobody either"
    return f"{line}; {others} {same}"
