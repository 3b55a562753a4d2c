"""``fairbrush attribute --explain`` and ``--why``: the figures behind an answer, as words and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairbrush.cli.output import printable
from fairbrush.domain import HintSource, Value

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution
    from fairbrush.domain import Evidence
    from fairbrush.explaining import Applied, Why


def explanation(attribution: Attribution) -> dict[str, Any]:
    """For the answer's JSON."""
    from fairbrush.explaining import explain

    found = explain(attribution)
    return {
        "delta": found.delta,
        "entry": found.entry,
        "players": [
            {"artist_id": hit.artist_id, "similarity": hit.similarity, "h": offset, "z": hit.z}
            for hit, offset in zip(found.players, found.offsets, strict=True)
        ],
        "runner_up": found.runner_up
        and {
            "artist_id": found.runner_up.artist_id,
            "z": found.runner_up.z,
            "margin": found.players[0].z - found.runner_up.z if found.players else None,
        },
        "coalitions": [
            {"artist_ids": list(one.artist_ids), "explained": one.explained} for one in found.coalitions
        ],
        "model_veto_share": found.model_veto_share,
        "calibration": found.calibration
        and {
            "calibration_id": found.calibration.calibration_id,
            "map": found.calibration.affinity_map.to_text(),
            "shift": found.calibration.shift,
            "is_centred": found.calibration.is_centred,
            "without_map": [
                {"artist_id": hit.artist_id, "share": share}
                for hit, share in zip(found.players, found.calibration.unmapped, strict=True)
            ],
        },
        "hint": attribution.hint
        and {
            "source": str(attribution.hint.source),
            "artist_ids": list(attribution.hint.artist_ids),
            "problem": attribution.hint.problem,
        },
    }


def why_json(one: Why) -> dict[str, Any]:
    return {
        "artist": one.artist.name,
        "artist_id": one.artist.artist_id,
        "verdict": str(one.verdict),
        "similarity": one.similarity,
        "z": one.z,
        "threshold": one.threshold,
        "margin": one.margin,
        "left_over": one.left_over,
        "evidence": [{"work_sha256": w.work_sha256, "similarity": w.similarity} for w in one.evidence],
    }


def input_lines(attribution: Attribution) -> str:
    """What an image was mixed from, and whose that is; nothing where no inputs were named."""
    if not attribution.game.mixed:
        return ""
    names = {one.artist.artist_id: one.artist.name for one in attribution.artists}
    lines = [f"{attribution.image.path}: mixed from"]
    for one, path in zip(attribution.game.mixed, attribution.input_paths, strict=True):
        whose = names.get(one.artist_id or "", "of an artist who may be credited")
        if not one.is_creditable:
            whose = "of nobody who may be credited: what only it explains is unattributed"
        lines.append(f"  {one.weight:.3f} {path}: {whose}")
    return "\n" + "".join(printable(line) + "\n" for line in lines)


def explained(attribution: Attribution, names: Mapping[str, str]) -> str:
    """The explanation in words, below the table. ``names`` by artist id, of who may be credited now."""
    from fairbrush.explaining import explain

    known = {**names, **{one.artist.artist_id: one.artist.name for one in attribution.artists}}
    found = explain(attribution)
    value = attribution.identity["value_function"]["name"]
    is_mix = value == Value.MIX
    rule = f"whoever is credited, one must have a z above {found.delta:.4f}"
    if is_mix:
        rule = "the inputs are given, so no threshold is asked for; similarities are to whole artists"
    lines = [f"{attribution.image.path}: {value}; {rule}"]
    if found.entry != found.delta and not is_mix:
        lines.append(f"  then whoever is above {found.entry:.4f} may share, where the mix needs them")
    lines += [
        f"  {known[hit.artist_id]}: similarity {hit.similarity:.4f} - h {offset:.4f} = z {hit.z:.4f}"
        for hit, offset in zip(found.players, found.offsets, strict=True)
    ]
    if found.calibration is not None:
        lines += _calibrated_lines(
            attribution, found.calibration, [hit.artist_id for hit in found.players], known
        )
    if found.runner_up:
        name = known.get(found.runner_up.artist_id, found.runner_up.artist_id)
        margin = f", {found.players[0].z - found.runner_up.z:.4f} behind the first" if found.players else ""
        lines.append(f"  runner-up, not credited: {name}, z {found.runner_up.z:.4f}{margin}")
    lines += [
        f"  {' + '.join(known[key] for key in one.artist_ids)} explain {one.explained:.3f} of the style"
        for one in found.coalitions
    ]
    lines += [
        f"  {one.artist.name}: nearest works {_works(one.evidence)}"
        for one in attribution.artists
        if one.evidence
    ]
    lines.append(f"  if the model could veto, it would take {found.model_veto_share:.3f}; never paid so")
    if not is_mix:
        lines.append(
            f"  below about {attribution.floor:.2f} of an image, an artist is usually not seen beside another"
        )
    lines += _hinted_lines(attribution)
    return "\n" + "".join(printable(line) + "\n" for line in lines)


def _calibrated_lines(
    attribution: Attribution, applied: Applied, players: Sequence[str], known: Mapping[str, str]
) -> list[str]:
    """Which calibration was applied, and what it changed."""
    where = f"the thresholds moved by {applied.shift:+.4f}"
    if applied.is_centred:
        where += f", the query centred at what {attribution.identity['model_id']} draws for nobody"
    lines = [f"  calibrated by {applied.calibration_id[:12]}: {applied.affinity_map}; {where}"]
    shares = {one.artist.artist_id: one.share for one in attribution.artists}
    for artist_id, share in zip(players, applied.unmapped, strict=True):
        lines.append(
            f"    {known[artist_id]}: share {share:.4f} without that map, {shares[artist_id]:.4f} with it"
        )
    return lines


def why_lines(attribution: Attribution, reasons: Sequence[Why]) -> str:
    """Why each artist asked about is, or is not, credited."""
    from fairbrush.explaining import Verdict

    lines = []
    for one in reasons:
        lines.append(f"{attribution.image.path}: {one.artist.name}: {one.verdict}")
        if one.z is not None and one.similarity is not None:
            line = f"  similarity {one.similarity:.4f} - h {one.similarity - one.z:.4f} = z {one.z:.4f}"
            lines.append(line if one.threshold is None else f"{line}, threshold {one.threshold:.4f}")
            if one.verdict is Verdict.CREDITED and one.threshold is not None and one.z <= one.threshold:
                lines.append("  so for the whole image; above the threshold in a part of it")
        if one.margin is not None and one.margin > 0:
            lines.append(f"  {one.margin:.4f} behind the nearest credited artist")
        if one.left_over is not None:
            lines.append(f"  beside what the credited explain, {one.left_over:+.4f} is left for this artist")
        if one.evidence:
            lines.append(f"  nearest works {_works(one.evidence)}")
    return "\n" + "".join(printable(line) + "\n" for line in lines)


def _works(evidence: Sequence[Evidence]) -> str:
    return ", ".join(f"{work.work_sha256[:12]} ({work.similarity:.3f})" for work in evidence)


def _hinted_lines(attribution: Attribution) -> list[str]:
    """Whom the prompt names, and how near each is."""
    hint = attribution.hint
    if hint is None:
        return []
    where = "the prompt" if hint.source is HintSource.PROMPT else "the file's prompt"
    if hint.problem:
        return [f"  the file's prompt was not read: {hint.problem}"]
    if not attribution.hinted:
        return [f"  {where} names no artist who may be credited"]
    lines = []
    for one in attribution.hinted:
        line = f"  named in {where}"
        if one.is_credited:
            line += f": {one.artist.name}, z {one.z:.4f}"
        elif one.is_near:
            line += f", near, but others explain the image as well: {one.artist.name}, z {one.z:.4f}"
        else:
            needed = attribution.game.threshold
            line += f", not near enough: {one.artist.name}, z {one.z:.4f}, threshold {needed:.4f}"
        lines.append(line)
    return lines
