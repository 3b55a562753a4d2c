"""Artists named in a prompt. Enters: who is called what, and a prompt. Leaves: artist ids, or where they are.

The one rule: a name counts as whole words, whatever the case, accents, spaces and punctuation, and inside a
longer name it is not that name: "Frida Kahlo" does not name an artist called Frida.

Since punctuation does not count, a prompt's own syntax needs no parser: ``(greg rutkowski:1.2)``, ``[a|b]``,
``<lora:greg_rutkowski:0.8>`` and ``\\(1840\\)`` are words with punctuation between. In scripts that put no
spaces between words a name is found where punctuation or spaces set it apart.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairbrush.corpus.generation.facts import LONGEST_PROMPT

SHORTEST_NAME = 2  # letters and digits
_LAST_INTEGRAL_MARK = 9  # combining classes up to here (voicing, vowel killers) make another letter
# letters with a stroke or joined, which Unicode does not take apart
_PLAIN = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i"})


def words_of(text: str) -> list[str]:
    """Its words in small letters without accents, and numbers. Takes time in proportion to the text.

    >>> words_of("Frida_KÁHLO, (de Łempicka:1.2)")
    ['frida', 'kahlo', 'de', 'lempicka', '1', '2']
    """
    if text.isascii():
        return text.translate(_ASCII).split()
    # each character by itself: a pile of accents is not put into order
    return text.translate({ord(character): _folded(character) for character in set(text)}).split()


def places_of_words(text: str) -> list[tuple[int, int]]:
    """Where each of ``words_of(text)`` starts and ends in the text, its accents with it.

    >>> [("Frida_KÁHLO!"[start:end]) for start, end in places_of_words("Frida_KÁHLO!")]
    ['Frida', 'KÁHLO']
    """
    folded = {character: _folded(character) for character in set(text)}
    places: list[tuple[int, int]] = []
    inside = False
    for place, character in enumerate(text):
        if inside and not folded[character]:
            places[-1] = (places[-1][0], place + 1)
        for letter in folded[character]:
            if letter == " ":
                inside = False
            elif inside:
                places[-1] = (places[-1][0], place + 1)
            else:
                places.append((place, place + 1))
                inside = True
    return places


@dataclass(frozen=True)
class Mention:
    """Somebody is named in ``prompt[start:end]``; ``artist_ids``: all who are called so."""

    start: int
    end: int
    artist_ids: frozenset[str]


@dataclass(frozen=True)
class NameFinder:
    """Names, ready to be looked for. ``keys``: sorted; ``artist_ids``: who is called so, of each key.

    >>> finder = NameFinder.of({"a1": ["Frida Kahlo"], "a2": ["Frida"], "a3": ["Claude Monet", "Monet"]})
    >>> finder.find("harbour, in the style of (frida_kahlo:1.2) and Monet's garden")
    ('a1', 'a3')
    >>> finder.find("monetary")
    ()
    """

    keys: tuple[str, ...]
    artist_ids: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, names: Mapping[str, Iterable[str]]) -> NameFinder:
        """``names``: by artist id. A name that several bear finds them all; a single letter, nobody."""
        bearers: dict[str, set[str]] = {}
        for artist_id, known in names.items():
            for name in known:
                key = "".join(words_of(name))
                if len(key) >= SHORTEST_NAME:
                    bearers.setdefault(key, set()).add(artist_id)
        keys = tuple(sorted(bearers))
        return cls(keys, tuple(frozenset(bearers[key]) for key in keys))

    def find(self, prompt: str) -> tuple[str, ...]:
        """The ids of the artists named, sorted. Reads the first ``LONGEST_PROMPT`` characters."""
        meant = self._meant(words_of(prompt[:LONGEST_PROMPT]))
        return tuple(sorted({artist_id for match in meant for artist_id in self.artist_ids[match.key]}))

    def mentions(self, prompt: str) -> tuple[Mention, ...]:
        """Where in its first ``LONGEST_PROMPT`` characters the prompt names artists, in its order.

        >>> NameFinder.of({"a1": ["Frida Kahlo"]}).mentions("(frida_kahlo:1.2)")
        (Mention(start=1, end=12, artist_ids=frozenset({'a1'})),)
        """
        text = prompt[:LONGEST_PROMPT]
        meant = sorted(self._meant(words_of(text)), key=lambda match: match.start)
        if not meant:
            return ()
        places = places_of_words(text)
        return tuple(
            Mention(places[match.start][0], places[match.end - 1][1], self.artist_ids[match.key])
            for match in meant
        )

    def _meant(self, words: list[str]) -> list[_Match]:
        """The matches that count: none lies in another or overlaps it."""
        if not self.keys:
            return []
        matches = [match for start in range(len(words)) for match in self._matches_at(words, start)]
        # the longest first, then the first; what lies in a longer one, or overlaps it, is not meant
        matches.sort(key=lambda match: (-len(self.keys[match.key]), match.start))
        taken = bytearray(len(words))
        meant = []
        for match in matches:
            if not any(taken[match.start : match.end]):
                taken[match.start : match.end] = b"\1" * (match.end - match.start)
                meant.append(match)
        return meant

    def _matches_at(self, words: list[str], start: int) -> list[_Match]:
        """The names that begin with this word: words are joined as long as some name begins so."""
        found = []
        joined = ""
        for end in range(start, len(words)):
            joined += words[end]
            place = bisect_left(self.keys, joined)
            if place == len(self.keys) or not self.keys[place].startswith(joined):
                break
            if self.keys[place] == joined:
                found.append(_Match(place, start, end + 1))
        return found


@dataclass(frozen=True)
class _Match:
    """``key``: the place of the name among the keys; ``start``, ``end``: its words in the prompt."""

    key: int
    start: int
    end: int


def _folded(character: str) -> str:
    apart = unicodedata.normalize("NFKD", character.casefold()).casefold().translate(_PLAIN)
    return "".join(map(_kept, apart))


def _kept(character: str) -> str:
    """A letter, a digit, or a mark that makes another letter; nothing for an accent; else a space."""
    category = unicodedata.category(character)
    if category[0] == "M":
        return character if unicodedata.combining(character) <= _LAST_INTEGRAL_MARK else ""
    if category == "Cf":  # such as a zero-width joiner: nobody sees it
        return ""
    return character if character.isalnum() else " "


_ASCII = {code: _folded(chr(code)) for code in range(128)}
