"""Names of nobody: what a prompt says in the place of an artist's, to see what any name does.

Enters: how many images there are, and who is registered. Leaves: names. The rules: they are invented, in the
shapes of many languages; none names anybody registered; and each image takes one of its own as long as there
are any, so that what a single name means by accident is averaged out.
"""

from __future__ import annotations

from enum import StrEnum

from fairbrush.corpus.hints import NameFinder
from fairbrush.errors import PromptError

FEWEST_NAMES = 8


class Control(StrEnum):
    """What a prompt that names an artist is compared with."""

    INVENTED = "invented"  # one that names somebody made up
    UNNAMED = "unnamed"  # one that names nobody


INVENTED = (
    "Marla Tennquist",
    "Ottokar Brunnefeld",
    "Elodie Varmoncourt",
    "Rufino Calzaherra",
    "Livia Montesarri",
    "Kasimir Wolanecki",
    "Yoshinari Takamuzu",
    "Bao Lin Qexun",
    "Adaeze Okumbalu",
    "Sven Halvarlund",
    "Priya Venkatoshi",
    "Tomas Brezhnalek",
    "Hamid Rastanvari",
    "Ines Figueredal",
    "Pekka Lumihalme",
    "Dimitra Kalovassi",
    "Joon Seo Baekran",
    "Carys Llwynfedd",
    "Anatoli Dravinsky",
    "Nomvula Zikhathe",
    "Gijs van Hardeloo",
    "Leyla Cankaroz",
    "Eoin MacTarnagh",
    "Zsofia Kertelhazy",
    "Rachel Dunmorrow",
    "Manu Tekahurangi",
    "Ewa Strzalinska",
    "Bilal Qasharani",
    "Itziar Goikolarra",
    "Nguyen Thi Quyanh",
    "Walter Pinkstead",
    "Oksana Hrebliuk",
    "Somchai Phranakorat",
    "Ludovic Bressanges",
    "Amara Diallobe",
    "Hrafn Steinulfsson",
    "Noa Ben Tzarfin",
    "Citlali Xochitepan",
    "Davit Mkherashvili",
    "Wayan Sutrapura",
    "Greta Ohlenmuss",
    "Ferran Puigdelloc",
    "Temesgen Alemaru",
    "Rashid Boukhalmi",
    "Mirela Vladunescu",
    "Harold Quillbury",
    "Aino Kirsipold",
    "Batzorig Erdenchul",
)


def control_names(count: int, registered: NameFinder) -> tuple[str, ...]:
    """The first ``count`` invented names that name nobody registered, or all where there are fewer.

    Raises PromptError where less than ``FEWEST_NAMES`` are left.

    >>> control_names(2, NameFinder.of({"a1": ["Tennquist"]}))
    ('Ottokar Brunnefeld', 'Elodie Varmoncourt')
    """
    free = [name for name in INVENTED if not registered.find(name)]
    if len(free) < FEWEST_NAMES:
        raise PromptError(
            f"Only {len(free)} of our {len(INVENTED)} invented names are not names of registered artists.",
            next_step="Compare with prompts that name nobody: --control unnamed.",
        )
    return tuple(free[:count])
