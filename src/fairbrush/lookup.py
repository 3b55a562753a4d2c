"""From image files to recorded attributions: the warm look-up.

Enters: paths. Leaves: one ``Answer`` each. The rules: what is cached is answered without loading an encoder,
torch or DuckDB; eligibility and the index are read again for every batch, after its images are embedded,
so an erasure or a withdrawn consent counts from the very next answer; a record is on disk before its answer
is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fairbrush.attribution import Attribution, EncoderFacts, ImageFacts, attribute_vector
from fairbrush.config import Settings
from fairbrush.corpus.eligibility import read_eligibility
from fairbrush.corpus.generation.automatic1111 import parse_parameters
from fairbrush.corpus.generation.facts import GenerationMetadata
from fairbrush.corpus.generation.read import read_generation
from fairbrush.corpus.hints import NameFinder
from fairbrush.corpus.images import image_limits, read_file
from fairbrush.corpus.names import pick
from fairbrush.corpus.stamped import unstamped
from fairbrush.documents import to_record
from fairbrush.domain import Artist, Doing, EmbedStatus, Hint, HintSource, Value
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.facets import FACETS, WHOLE
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import (
    AttributionError,
    CacheDamagedError,
    CacheError,
    CalibrationError,
    GenerationUnreadableError,
    ImageRefusedError,
    IndexMissingError,
    IndexUnusableError,
    MixError,
    VectorRefusedError,
)
from fairbrush.explaining import Why, why
from fairbrush.index.calibrated import calibrated_index
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.ledger.policy import Policy, named_calibration, read_policy
from fairbrush.ledger.records import note_refusals, write_pending
from fairbrush.ledger.refusals import Refused
from fairbrush.mixing import InputImage, MixInput, joined
from fairbrush.style.calibration import Calibration, read_calibration
from fairbrush.workspace import INDEXES, RECORDS, require_workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Images embedded together where their vectors are not cached; each batch is committed before it is answered.
BATCH = 64
REWRITE_ATTEMPTS = 5
NO_CALIBRATION = "none"
FORGOTTEN = "forgotten"  # the reason of an answer that an erasure overtook


@dataclass(frozen=True)
class Answer:
    """An attribution, or why there is none."""

    path: Path
    attribution: Attribution | None = None
    reason: str = ""
    detail: str = ""
    is_stamped_copy: bool = False  # of the image that was answered


# a text: why what is there cannot be read
_Generation = GenerationMetadata | str | None


@dataclass(frozen=True, eq=False)
class _Embedded:
    """vectors: raw float32 (n_views, dim). ``device``: where the encoder ran; None where from the cache.

    ``generation``: what the file says about it, or why that cannot be read.
    """

    sha256: str
    vectors: NDArray[np.float32]
    device: str | None
    generation: _Generation


class Lookup:
    """A workspace's index, cache and policy, open for look-ups; use it as a context manager."""

    def __init__(
        self,
        settings: Settings,
        *,
        model: str | None = None,
        record: bool = True,
        prompt: str | None = None,
        metadata: bool = True,
        value: Value | None = None,
        intervals: bool = True,
        inputs: Sequence[MixInput] = (),
        calibration: str | None = None,
        needs_b: bool = True,
        refused_by: Doing | None = None,
    ) -> None:
        """``prompt``: of every image asked about; None: what its file says, unless not ``metadata``.
        ``value``: the policy's where None; ``facets`` embeds an image's crops too. ``inputs``: what every
        image asked about was mixed from; then no prompt is read. ``calibration``: its id or the first digits
        of it; ``NO_CALIBRATION``: none; None: the policy's. The policy's b stays what it says; without
        ``needs_b``, where no money follows, it is the default where none was measured of the model.
        ``refused_by``: the command that images are refused by, which is kept; None: attribute, where it
        records.

        Raises WorkspaceError, PolicyError, IndexUnusableError, EligibilityError, RegistryError, and
        CalibrationError for a calibration that is not here or does not cover what is asked.
        """
        self.workspace = require_workspace(settings.workspace)
        self.policy = read_policy(settings.policy)
        self.model = model or self.policy.model
        self.value = value or (Value.MIX if inputs else Value(self.policy.value))
        self._inputs = tuple(inputs)
        self._views = FACETS if self.value is Value.FACETS else WHOLE
        self._intervals = intervals
        self._settings = settings
        self._record = record
        self._refused_by = refused_by or (Doing.ATTRIBUTE if record else None)
        # a whole block of parameters may have been pasted, the negative prompt in it
        self._prompt = None if prompt is None else parse_parameters(prompt).prompt or ""
        self._reads_metadata = metadata and prompt is None and not inputs
        self._names: dict[str, tuple[str, ...]] = {}
        self._finder = NameFinder.of({})
        self._limits = image_limits(settings)
        self._stamped: set[Path] = set()
        self._stack = ExitStack()
        self._session: EmbeddingSession | None = None
        self.calibration = self._calibration_of_shares(calibration)
        self._calibration_of_b: Calibration | None = None
        self.index: StyleIndex = self._open_index()
        self.assumed_b = ""  # why b is the default, where it is not what the policy says
        try:
            self._resolve_b()
        except CalibrationError as error:
            if needs_b:
                raise
            self.policy = replace(self.policy, b=Policy.b)
            self.assumed_b = (
                f"{error.message} b = {Policy.b} is assumed; creators' shares do not depend on it."
            )
        self.eligibility = read_eligibility(self.workspace)
        self.eligibility.eligible(self.model)  # an unknown model is refused before any work

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _calibration_of_shares(self, asked: str | None) -> Calibration | None:
        if asked is not None:
            return self._read_calibration(None if asked == NO_CALIBRATION else asked)
        named = self._settings.policy.get("calibration")
        return self._read_calibration(None if named is None else named_calibration("calibration", named))

    def _resolve_b(self) -> None:
        calibration = self._read_calibration(self.policy.calibrated_by)
        if calibration is not None:
            calibration.require_encoder(self.index.encoder_id)
            self.policy = self.policy.resolved(calibration, self.model)
            self._calibration_of_b = calibration

    def _read_calibration(self, named: str | None) -> Calibration | None:
        return None if named is None else read_calibration(self.workspace, named)

    def _open_index(self) -> StyleIndex:
        """The current version, as the calibrations have it searched."""
        index = open_index(self.workspace / INDEXES)
        if self._calibration_of_b is not None:
            self._calibration_of_b.require_encoder(index.encoder_id)
        if self.calibration is None:
            return index
        self.calibration.require(encoder_id=index.encoder_id, space_id=index.space_id, value=self.value)
        centre = self.calibration.part_of(self.model).centre
        return calibrated_index(index, shift=self.calibration.shift, centre=centre)

    def attribute(self, paths: Sequence[Path]) -> Iterator[Answer]:
        """One answer a path, in order; recorded, unless asked not to, before it is yielded.

        Raises what opening raises, AttributionError, CacheError, EncoderError, RecordError; MixError for an
        input that cannot be read or is nobody's, before any answer.
        """
        for start in range(0, len(paths), BATCH):
            answers = self._answer_batch(paths[start : start + BATCH])
            if self._record:
                now = datetime.now(UTC)
                records = [to_record(a.attribution, now=now) for a in answers if a.attribution is not None]
                write_pending(self.workspace / RECORDS, records)
            self.note_refused([a for a in answers if a.attribution is None])
            yield from answers

    def note_refused(self, refused: Sequence[Refused]) -> None:
        """Keep which images gave no answer, and why, unless asked not to record."""
        if self._refused_by is not None:
            lasting = [one for one in refused if one.reason != FORGOTTEN]
            now = datetime.now(UTC)
            note_refusals(self.workspace / RECORDS, lasting, doing=self._refused_by, now=now)

    def _answer_batch(self, paths: Sequence[Path]) -> list[Answer]:
        """Answer from one index: where it was rewritten meanwhile (an erasure), from the new one."""
        for attempt in range(REWRITE_ATTEMPTS):
            if attempt or not self.index.is_current():
                self.index = self._open_index()
            embedded = self._vectors([*paths, *(one.path for one in self._inputs)])
            if not self.index.is_current():
                continue
            self.eligibility = read_eligibility(self.workspace)  # last, so that it is the newest
            try:
                inputs = self._input_images(embedded)
                return [self._answer(path, embedded[path], inputs) for path in paths]
            except IndexMissingError:
                if self.index.is_current():
                    raise
        raise IndexUnusableError(
            f"The index in {self.workspace / INDEXES} was rewritten {REWRITE_ATTEMPTS} times meanwhile.",
            next_step="Ask again when that has ended.",
        )

    def _input_images(self, embedded: Mapping[Path, _Embedded | Answer]) -> tuple[InputImage, ...]:
        """Raises MixError."""
        found = []
        for one in self._inputs:
            of_input = embedded[one.path]
            if isinstance(of_input, Answer):
                self.note_refused([of_input])
                raise MixError(f"The input {one.path} is not usable: {of_input.reason}. {of_input.detail}")
            try:
                styled = self.index.styled(of_input.vectors.reshape(-1, self.index.dim)[0])
            except VectorRefusedError as refused:
                raise MixError(f"The input {one.path} has no direction. {refused.message}") from refused
            found.append((one, of_input.sha256, styled))
        works = self.index.artists_by_work if found else {}
        return joined(found, artists_by_work=works, registry=self.eligibility)

    def _answer(
        self, path: Path, embedded: _Embedded | Answer, inputs: tuple[InputImage, ...] = ()
    ) -> Answer:
        if isinstance(embedded, Answer):
            return embedded
        try:
            attribution = attribute_vector(
                ImageFacts(embedded.sha256, path),
                embedded.vectors,
                index=self.index,
                eligibility=self.eligibility,
                encoder=EncoderFacts(self.index.encoder_id, self.index.variants[0], embedded.device),
                policy=self.policy,
                model_id=self.model,
                hint=self._hint(embedded.generation),
                value=self.value,
                intervals=self._intervals,
                inputs=inputs,
                calibration=self.calibration,
            )
        except VectorRefusedError as refused:
            return Answer(path, None, "no direction", refused.message)
        return Answer(path, attribution, is_stamped_copy=path in self._stamped)

    def mixed(self) -> tuple[InputImage, ...]:
        """What the images asked about were mixed from, and whose each input is, credited or not.

        Raises as ``attribute``.
        """
        return self._input_images(self._vectors([one.path for one in self._inputs]))

    def artist_named(self, name_or_id: str) -> Artist:
        """By id, name or alias, whoever may be credited or not. Raises RegistryError."""
        found = pick(name_or_id, self.eligibility.names, what="artist", listing="artist list")
        return self.eligibility.artists[found]

    def why(self, attribution: Attribution, artist: Artist) -> Why:
        """Why an artist is, or is not, credited in an answer of this look-up.

        Raises AttributionError where the image's vector was dropped meanwhile.
        """
        sha256 = attribution.image.sha256
        stored = self._stored([sha256])
        if sha256 not in stored:
            raise AttributionError(
                f"The vector of {attribution.image.path} was just dropped.", next_step="Ask again."
            )
        whole = stored[sha256].reshape(-1, self.index.dim)[0]
        return why(attribution, artist, whole, index=self.index, eligibility=self.eligibility)

    def _hint(self, generation: _Generation) -> Hint | None:
        """Whom the prompt names; None where there is none."""
        if self._prompt is not None:
            return Hint(HintSource.PROMPT, self._named(self._prompt))
        if generation is None:
            return None
        if isinstance(generation, str):
            return Hint(HintSource.METADATA, (), generation)
        if generation.prompt is None:
            return Hint(HintSource.METADATA, (), f"No prompt was found in what {generation.tool} wrote.")
        return Hint(HintSource.METADATA, self._named(generation.prompt))

    def _named(self, prompt: str) -> tuple[str, ...]:
        """Looked for among all artists: one who opted out must not be taken for one with a shorter name."""
        names = self.eligibility.names
        if names != self._names:
            self._names, self._finder = names, NameFinder.of(names)
        return self._finder.find(prompt)

    def _vectors(self, paths: Sequence[Path]) -> dict[Path, _Embedded | Answer]:
        """The vectors of each path, from the cache where they can be, or why there are none."""
        settled: dict[Path, _Embedded | Answer] = {}
        digests: dict[Path, str] = {}
        generations: dict[str, _Generation] = {}
        for path in dict.fromkeys(paths):
            try:
                digests[path] = self._digest(path, generations)
            except ImageRefusedError as refused:
                settled[path] = Answer(path, None, str(refused.reason), refused.detail)
        stored = self._stored(digests.values())
        missing = [path for path, sha256 in digests.items() if sha256 not in stored]
        device = self.embedder().encoder.device if missing else None
        for outcome in self.embedder().embed(missing, views=self._views) if missing else ():
            if outcome.status is EmbedStatus.FAILED or outcome.sha256 is None:
                settled[outcome.path] = Answer(outcome.path, None, outcome.reason, outcome.detail)
                del digests[outcome.path]
            else:
                digests[outcome.path] = outcome.sha256  # the file may have changed since it was hashed
        fresh = self._stored(set(digests.values()) - set(stored)) if missing else {}
        for path, sha256 in digests.items():
            if sha256 in stored:
                settled[path] = _Embedded(sha256, stored[sha256], None, generations.get(sha256))
            elif sha256 in fresh:
                settled[path] = _Embedded(sha256, fresh[sha256], device, generations.get(sha256))
            else:  # erased this very moment
                settled[path] = Answer(path, None, FORGOTTEN, "Its vector was just dropped. Ask again.")
        return settled

    def _digest(self, path: Path, generations: dict[str, _Generation]) -> str:
        """SHA-256 of a file; what the same bytes say about their generation goes to ``generations``.

        Raises ImageRefusedError.
        """
        read = read_file(path, self._limits)
        content = unstamped(read)
        (self._stamped.discard if content is read else self._stamped.add)(path)
        sha256 = hashlib.sha256(content).hexdigest()
        if not self._reads_metadata:
            return sha256
        try:
            generations[sha256] = read_generation(content)
        except GenerationUnreadableError as error:
            generations[sha256] = error.message
        return sha256

    def _stored(self, sha256s: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Raw float32 (n_views, dim) by SHA-256, of what is cached. Only read: a read-only disk will do."""
        try:
            with EmbeddingCache.open(self._settings.cache_folder, readonly=True) as cache:
                variant = self._views.variant(self.index.variants[0])
                return cache.space(self.index.encoder_id, variant).get_many(sorted(set(sha256s)))
        except CacheDamagedError:
            raise
        except CacheError:  # there is none yet, or it may not be read: the embedder makes it, or says why not
            return {}

    def embedder(self) -> EmbeddingSession:
        """The encoder, loaded when first needed; it must be the one the index was built with.

        Open as long as the look-up is. Raises AttributionError and what opening a session raises.
        """
        session = self._session or EmbeddingSession.open(self._settings)
        found = (session.encoder.encoder_id, session.encoder.variant)
        if found != (self.index.encoder_id, self.index.variants[0]):
            raise AttributionError(
                f"Index {self.index.version} was built with {self.index.encoder_id} on"
                f" {self.index.variants[0]}, this encoder is {found[0]} on {found[1]}.",
                next_step="Name that encoder in fairbrush.toml, or rebuild: fairbrush index build.",
            )
        if self._session is None:
            self._session = self._stack.enter_context(session)
        return self._session
