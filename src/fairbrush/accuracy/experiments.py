"""Run every method on every trial, and reduce what came out to findings.

Enters: trials and methods. Leaves: ``Finding``s, each a number with its interval. The one rule: every method
answers the same images of the same splits in one run, so that differences are paired.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.accuracy.gallery import Gallery
from fairbrush.accuracy.measures import Estimate, Resampling, score_split
from fairbrush.accuracy.methods import (
    RAW_CENTROID,
    VARIANTS,
    VIEWS,
    Background,
    Fairbrush,
    Fitted,
    FittedCentroids,
    FittedFairbrush,
    Method,
    Shares,
    in_view,
)
from fairbrush.accuracy.retrieval import CUTOFFS, retrieve
from fairbrush.accuracy.trials import (
    ONE,
    UNKNOWN,
    GalleryTrials,
    Images,
    IntervalTrial,
    Kind,
    Plan,
    SyntheticTrials,
    Trial,
)
from fairbrush.uncertainty import Confidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.index.build import ArtistWorks

CURVE_ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
BASE_RATIO = f"mispaid / {RAW_CENTROID}"
PAID_RATIO = f"mispaid_paid / {RAW_CENTROID}"  # on the images that credit anybody
WORDS = tuple(str(word) for word in Confidence)
RANKED = "ranked"  # the kind of an image that is only ranked, for the curve
ENTRIES = (2, 5, 20)
ROUNDING = 1e-9  # a covered share may differ so much from its bound
Tell = Callable[[str], None]


class Section(StrEnum):
    RETRIEVAL = "style retrieval"
    ONE_ARTIST = "one artist"
    MIXTURES = "mixtures"
    UNKNOWN = "unknown artists"
    CURVE = "false credit against credit"
    INTERVALS = "intervals"
    CLONES = "clones"
    WORDS = "words"


@dataclass(frozen=True)
class Finding:
    """One measured number: where, of which method, which measure. ``estimate``: None where not given."""

    section: Section
    setting: str
    kind: str
    method: str
    measure: str
    estimate: Estimate | None


class ScoreSheet:
    """Scores by kind of image, method and measure; the images' clusters are those of every method."""

    def __init__(self) -> None:
        self._clusters: dict[Kind, list[tuple[str, ...]]] = defaultdict(list)
        self._values: dict[tuple[Kind, str, str], list[float]] = defaultdict(list)
        self.methods: dict[str, None] = {}

    def expect(self, images: Images) -> None:
        """Note whose the images are, once, before the methods' scores of them."""
        for kind, cluster in zip(images.kinds, images.clusters, strict=True):
            self._clusters[kind].append(cluster)

    def add(self, method: str, kind: Kind, scores: Mapping[str, float]) -> None:
        self.methods[method] = None
        for measure, value in scores.items():
            self._values[kind, method, measure].append(value)

    @property
    def kinds(self) -> list[Kind]:
        return sorted(self._clusters)

    def measures(self, kind: Kind, method: str) -> list[str]:
        return [measure for known, name, measure in self._values if (known, name) == (kind, method)]

    def clusters(self, kinds: Iterable[Kind]) -> list[tuple[str, ...]]:
        return [cluster for kind in kinds for cluster in self._clusters[kind]]

    def values(self, kinds: Iterable[Kind], method: str, measure: str) -> NDArray[np.float64]:
        import numpy as np

        return np.array([value for kind in kinds for value in self._values[kind, method, measure]])


def engines(values: Sequence[str], scratch: Path, *, alpha: float) -> list[Method]:
    """fairbrush with each of these value functions."""
    return [Fairbrush(value, VARIANTS[value], scratch, alpha) for value in values]


def measure_gallery(
    trials: GalleryTrials, methods: Sequence[Method], fairbrush: Sequence[Method], tell: Tell
) -> list[Finding]:
    """Every section on a gallery; intervals of ``fairbrush`` only."""
    gallery, background, plan = trials.gallery, trials.background, trials.plan
    tell(f"{trials.name}: style retrieval")
    findings = retrieval_findings(gallery, background, plan, setting=trials.name)
    split, left_out = ScoreSheet(), ScoreSheet()
    for number, trial in enumerate(trials.trials(), start=1):
        tell(f"{trials.name}: split {number} of {plan.splits}")
        score_trial(trial, background, methods, split)
    tell(f"{trials.left_out_name}: leaving artists out")
    for trial in trials.left_out_trials():
        score_trial(trial, background, methods, left_out)
    findings += split_findings(split, setting=trials.name, seed=plan.seed)
    findings += words_findings(split, setting=trials.name, seed=plan.seed)
    findings += unknown_findings(left_out, setting=trials.left_out_name, seed=plan.seed)
    tell(f"{trials.name}: intervals")
    intervals = [(trial, background) for trial in trials.interval_trials()]
    findings += interval_findings(intervals, fairbrush, setting=trials.name, seed=plan.seed)
    tell(f"{trials.name}: clones")
    trial = next(trials.trials())
    return findings + clone_findings(trial, background, methods, plan, setting=trials.name)


def measure_synthetic(
    trials: SyntheticTrials, methods: Sequence[Method], fairbrush: Sequence[Method], tell: Tell
) -> list[Finding]:
    """Every section but retrieval; intervals and clones with the fewest artists only."""
    plan = trials.plan
    sheet = ScoreSheet()
    worlds = [(world, world.background()) for world in trials.worlds()]
    for number, (world, background) in enumerate(worlds, start=1):
        tell(f"{trials.name}: world {number} of {plan.splits}")
        score_trial(trials.trial(world), background, methods, sheet)
    findings = split_findings(sheet, setting=trials.name, seed=plan.seed)
    findings += unknown_findings(sheet, setting=trials.name, seed=plan.seed)
    if trials.artists == min(plan.synthetic_sizes):
        # the true centroids of thousands of artists would take hours, and cover no differently
        tell(f"{trials.name}: intervals")
        made = [(trials.interval_trial(world), background) for world, background in worlds]
        findings += interval_findings(made, fairbrush, setting=trials.name, seed=plan.seed)
        tell(f"{trials.name}: clones")
        world, background = worlds[0]
        findings += clone_findings(trials.trial(world), background, methods, plan, setting=trials.name)
    return findings


def retrieval_findings(
    gallery: Gallery, background: Background, plan: Plan, *, setting: str
) -> list[Finding]:
    """CSD's metrics on the gallery's own split, or on random halves where it has none."""
    import numpy as np

    if gallery.is_query is not None:
        splits = [~gallery.is_query]
    else:
        splits = [gallery.halves(np.random.default_rng([plan.seed, n])) for n in range(plan.splits)]
    artists = np.asarray(gallery.artists)
    findings = []
    for view in VIEWS:
        rows = in_view(view, gallery.vectors, background)
        clusters: list[tuple[str, ...]] = []
        scores: dict[str, list[float]] = defaultdict(list)
        for is_database in splits:
            whose = artists[~is_database].tolist()
            found = retrieve(rows[~is_database], whose, rows[is_database], artists[is_database].tolist())
            clusters += [(name,) for name in whose]
            for k in CUTOFFS:
                scores[f"mAP@{k}"] += found.precision[k].tolist()
                scores[f"Recall@{k}"] += found.found[k].tolist()
        # CSD averages over queries, however many an artist has
        resampling = Resampling(clusters, seed=plan.seed, each_image_counts=True)
        for measure, values in scores.items():
            estimate = resampling.estimate(np.array(values))
            findings.append(Finding(Section.RETRIEVAL, setting, "works", view, measure, estimate))
    return findings


def score_trial(trial: Trial, background: Background, methods: Sequence[Method], sheet: ScoreSheet) -> None:
    """Every method's scores on one trial."""
    sheet.expect(trial.scored)
    curve = Images(
        trial.ranked.vectors,
        tuple(Kind(kind.artists, RANKED) for kind in trial.ranked.kinds),
        trial.ranked.true,
        trial.ranked.clusters,
    )
    sheet.expect(curve)
    ranked_as: set[str] = set()
    for method in methods:
        fitted = method.fit(trial.references, background)
        answers = fitted.shares(trial.scored.vectors)
        for kind, true, answer in zip(trial.scored.kinds, trial.scored.true, answers, strict=True):
            sheet.add(method.name, kind, _scores(answer, true))
        name = ranking_name(method.name, fitted)
        if name is not None and name not in ranked_as and len(curve.kinds):
            ranked_as.add(name)
            _add_curve(name, fitted, curve, sheet)


def ranking_name(method: str, fitted: Fitted) -> str | None:
    """What ranks images for the curve: the affinity, which all value functions share, or a raw cosine."""
    if isinstance(fitted, FittedFairbrush):
        return "affinity z"
    return "raw cosine" if method == RAW_CENTROID else None


def _scores(answer: Shares, true: Mapping[str, float]) -> dict[str, float]:
    right = sum(part for name, part in answer.paid.items() if name in true)
    leads = float(answer.best in true)
    words = {} if answer.word is None else {word: float(answer.word == word) for word in WORDS}
    return {
        **asdict(score_split(answer.paid, true)),
        "ranked_right": leads,
        "to_right": right,
        **words,
        **{right_when(word): leads if said else math.nan for word, said in words.items()},
    }


def right_when(word: str) -> str:
    """The measure: of the answers with this word, how often the first artist is in the image."""
    return f"right when {word}"


def _add_curve(name: str, fitted: Fitted, curve: Images, sheet: ScoreSheet) -> None:
    """Whether each image would be credited, were the threshold placed on the panel at other alphas."""

    assert isinstance(fitted, FittedFairbrush | FittedCentroids), "these rank images"
    nearness = fitted.nearness(curve.vectors)
    thresholds = {alpha: fitted.threshold(alpha) for alpha in CURVE_ALPHAS}
    for kind, value in zip(curve.kinds, nearness.tolist(), strict=True):
        sheet.add(name, kind, {f"{alpha}": float(value > delta) for alpha, delta in thresholds.items()})


def split_findings(sheet: ScoreSheet, *, setting: str, seed: int) -> list[Finding]:
    """One artist and mixtures: each measure of each method, and beside the baselines."""
    import numpy as np

    findings = []
    kinds = [kind for kind in sheet.kinds if kind.artists and kind.composition != RANKED]
    together: dict[str, list[Kind]] = {kind.label: [kind] for kind in kinds}
    for hands in (2, 3):
        together[f"{hands} artists, all"] = [kind for kind in kinds if kind.artists == hands]
    for label, members in together.items():
        if not members:
            continue
        section = Section.ONE_ARTIST if members == [ONE] else Section.MIXTURES
        resampling = Resampling(sheet.clusters(members), seed=seed)
        for method in sheet.methods:
            for measure in sheet.measures(members[0], method):
                if measure in WORD_MEASURES:
                    continue
                values = sheet.values(members, method, measure)
                findings.append(
                    Finding(section, setting, label, method, measure, resampling.estimate(values))
                )
                if section is Section.MIXTURES and measure == "mispaid":
                    base = sheet.values(members, RAW_CENTROID, measure)
                    ratio = resampling.ratio(values, base)
                    findings.append(Finding(section, setting, label, method, BASE_RATIO, ratio))
                    paid = sheet.values(members, method, "mispaid_paid")
                    ratio = resampling.ratio(paid, np.where(np.isnan(paid), np.nan, base))
                    findings.append(Finding(section, setting, label, method, PAID_RATIO, ratio))
        if members == [ONE]:
            findings += _beside_best_baselines(sheet, resampling, setting)
    return findings


def _beside_best_baselines(sheet: ScoreSheet, resampling: Resampling, setting: str) -> list[Finding]:
    """How much oftener each method ranks the artist first than the best of the raw baselines does, and than
    the best in the style space; best by the same images, which favours the baseline."""
    ranked = {
        method: sheet.values([ONE], method, "ranked_right")
        for method in sheet.methods
        if "ranked_right" in sheet.measures(ONE, method)
    }
    findings = []
    for view in VIEWS:
        group = [method for method in ranked if method.startswith(view)]
        if not group:
            continue
        best = max(group, key=lambda method: resampling.estimate(ranked[method]).mean)
        for method, values in ranked.items():
            found = resampling.difference(values, ranked[best])
            findings.append(Finding(Section.ONE_ARTIST, setting, ONE.label, method, beside_best(view), found))
    return findings


def beside_best(view: str) -> str:
    """The measure that compares a method with the best baseline of a view.

    >>> beside_best("raw")
    'ranked_right - best raw baseline'
    """
    return f"ranked_right - best {view} baseline"


def unknown_findings(sheet: ScoreSheet, *, setting: str, seed: int) -> list[Finding]:
    """How often a method credits anybody for an unknown artist's image, and the curve over alpha."""
    findings = words_findings(sheet, setting=setting, seed=seed)
    if not sheet.clusters([UNKNOWN]):
        return findings
    strangers = Resampling(sheet.clusters([UNKNOWN]), seed=seed)
    for method in sheet.methods:
        values = sheet.values([UNKNOWN], method, "credits")
        if len(values):
            found = strangers.estimate(values)
            findings.append(Finding(Section.UNKNOWN, setting, UNKNOWN.label, method, "credits", found))
    for kind in (kind for kind in sheet.kinds if kind.composition == RANKED):
        resampling = Resampling(sheet.clusters([kind]), seed=seed)
        label = ONE.label if kind.artists else UNKNOWN.label
        for method in sheet.methods:
            for alpha in sheet.measures(kind, method):
                found = resampling.estimate(sheet.values([kind], method, alpha))
                findings.append(Finding(Section.CURVE, setting, label, method, alpha, found))
    return findings


WORD_MEASURES = frozenset({*WORDS, *map(right_when, WORDS)})


def words_findings(sheet: ScoreSheet, *, setting: str, seed: int) -> list[Finding]:
    """How often each word is said of images by one artist, two or an unknown one, and how often rightly."""
    findings = []
    kinds = [kind for kind in sheet.kinds if kind.composition != RANKED]
    for label, members in (
        (ONE.label, [kind for kind in kinds if kind == ONE]),
        ("2 artists, all", [kind for kind in kinds if kind.artists == 2]),
        (UNKNOWN.label, [kind for kind in kinds if kind == UNKNOWN]),
    ):
        if not members or not sheet.clusters(members):
            continue
        resampling = Resampling(sheet.clusters(members), seed=seed)
        for method in sheet.methods:
            for word in WORDS:
                for measure in (word, right_when(word)):
                    values = sheet.values(members, method, measure)
                    if len(values):
                        found = resampling.estimate(values)
                        findings.append(Finding(Section.WORDS, setting, label, method, measure, found))
    return findings


def interval_findings(
    trials: Sequence[tuple[IntervalTrial, Background]],
    methods: Sequence[Method],
    *,
    setting: str,
    seed: int,
) -> list[Finding]:
    """How often the intervals of credited artists hold the shares that more works give.

    ``covered``: of the artists credited; ``covered_due``: also those who are due a share and got none, who
    have no interval; ``width``: of the intervals. None where the method gives no intervals.
    """
    import numpy as np

    findings = []
    for method in methods:
        clusters: list[tuple[str, ...]] = []
        scores: dict[str, list[float]] = defaultdict(list)
        for trial, background in trials:
            answers = method.fit(trial.fewer, background).shares(trial.images.vectors)
            if all(answer.intervals is None for answer in answers):
                continue
            truth = method.fit(trial.all_works, background).shares(trial.images.vectors)
            for cluster, answer, wanted in zip(trial.images.clusters, answers, truth, strict=True):
                for covered, width in _coverage(answer, wanted):
                    clusters.append(cluster)
                    scores["covered"].append(np.nan if width is None else covered)
                    scores["covered_due"].append(covered)
                    scores["width"].append(np.nan if width is None else width)
        for measure in ("covered", "covered_due", "width"):
            found = Resampling(clusters, seed=seed).estimate(np.array(scores[measure])) if clusters else None
            findings.append(
                Finding(Section.INTERVALS, setting, "1 and 2 artists", method.name, measure, found)
            )
    return findings


def _coverage(answer: Shares, wanted: Shares) -> list[tuple[float, float | None]]:
    """For each artist paid or due: whether the interval holds what is due, and its width, None without."""
    bounds = answer.intervals or {}
    found: list[tuple[float, float | None]] = []
    for name in sorted({*answer.paid, *wanted.paid}):
        due = wanted.paid.get(name, 0.0)
        if name in bounds:
            low, high = bounds[name]
            found.append((float(low - ROUNDING <= due <= high + ROUNDING), high - low))
        elif due > 0:
            found.append((0.0, None))
    return found


def clone_findings(
    trial: Trial, background: Background, methods: Sequence[Method], plan: Plan, *, setting: str
) -> list[Finding]:
    """What an artist's creator gains by entries, and what an artist loses to a copy by somebody else.

    Mean over the images that hold the artist; ``largest`` change over all of them, either way.
    """
    import numpy as np

    rng = np.random.default_rng([plan.seed, 7])
    picked = rng.permutation(len(trial.references))[: plan.cloned_artists].tolist()
    worlds: list[tuple[str, str, list[ArtistWorks], Images]] = []
    for at in picked:
        name = trial.references[at].artist_id
        images = trial.scored.chosen([n for n, true in enumerate(trial.scored.true) if name in true])
        for entries in ENTRIES:
            split = with_entries(trial.references, name, entries)
            if split is not None:
                worlds.append((f"{entries} entries of one creator", name, split, images))
        worlds.append(("copied by somebody else", name, with_copy(trial.references, name), images))
    findings = []
    for method in methods:
        fitted = method.fit(trial.references, background)
        before = {name: _total(fitted, {name}, images) for _, name, _, images in worlds}
        changes: dict[str, list[tuple[str, NDArray[np.float64]]]] = defaultdict(list)
        for label, name, references, images in worlds:
            own = {one.artist_id for one in references if one.creator_id == name}
            after = _total(method.fit(references, background), own, images)
            changes[label].append((name, after - before[name]))
        for label, found in changes.items():
            clusters = [(name,) for name, values in found for _ in values]
            values = np.concatenate([values for _, values in found])
            mean = Resampling(clusters, seed=plan.seed).estimate(values)
            largest = float(values[np.abs(values).argmax()])
            findings.append(Finding(Section.CLONES, setting, label, method.name, "change", mean))
            most = Estimate(largest, largest, largest, mean.images, mean.groups)
            findings.append(Finding(Section.CLONES, setting, label, method.name, "largest", most))
    return findings


def with_entries(references: Sequence[ArtistWorks], name: str, entries: int) -> list[ArtistWorks] | None:
    """The artist's works dealt out over so many entries of the same creator; None where works are fewer."""
    [artist] = [one for one in references if one.artist_id == name]
    if len(artist.work_sha256s) < entries:
        return None
    dealt = [
        replace(
            artist,
            artist_id=f"{name} #{entry}",
            work_sha256s=artist.work_sha256s[entry::entries],
            vectors=artist.vectors[entry::entries],
        )
        for entry in range(entries)
    ]
    return [one for one in references if one.artist_id != name] + dealt


def with_copy(references: Sequence[ArtistWorks], name: str) -> list[ArtistWorks]:
    """The artist's works registered again, by a creator nobody has verified."""
    [artist] = [one for one in references if one.artist_id == name]
    return [*references, replace(artist, artist_id=f"{name} (copy)", creator_id=f"{name} (copy)")]


def _total(fitted: Fitted, artist_ids: set[str], images: Images) -> NDArray[np.float64]:
    """What these entries get of each image."""
    import numpy as np

    answers = fitted.shares(images.vectors)
    return np.array([sum(part for n, part in one.paid.items() if n in artist_ids) for one in answers])
