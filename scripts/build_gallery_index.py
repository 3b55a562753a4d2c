"""Build ``indexes/gallery``: the index of the bundled gallery's reference works, by the bundled encoder.

Enters: nothing. Leaves: one version in ``--out``, in place of what was there. The rules: artists keep the
random ids of ``artists.json``, which only grows; and the same encoder gives the same bytes, because the index
is built in an empty folder and then takes the old one's place.

    python scripts/build_gallery_index.py
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from fairbrush.config import Settings
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.index.build import ArtistWorks, build_index
from fairbrush.index.files import LOCK_NAME
from fairbrush.index.versions import IndexVersion, verify_index
from fairbrush.style.panel import bundled_panel, fit_panel

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "src/fairbrush/data/gallery"
OUT = ROOT / "indexes/gallery"
IDS = "artists.json"


def open_session(cache: Path) -> EmbeddingSession:
    """The bundled encoder on the CPU, whatever this machine's settings say."""
    return EmbeddingSession.open(Settings(encoder="mini", device="cpu", cache=cache, threads=1))


def gallery_works(part: str) -> dict[str, list[tuple[str, Path]]]:
    """(SHA-256, file) of every work of a part, ``references`` or ``queries``, by artist."""
    works: dict[str, list[tuple[str, Path]]] = {}
    for work in json.loads((GALLERY / "manifest.json").read_text(encoding="utf-8"))["works"]:
        if work["file"].startswith(f"{part}/"):
            works.setdefault(work["artist"], []).append((work["sha256"], GALLERY / work["file"]))
    return works


def keep_ids(file: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The ids of ``file``, with new random ones for new names; nobody's id ever changes."""
    ids: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known = set(ids)
    for name in sorted(set(names) - known):
        ids[name] = {"artist_id": secrets.token_hex(16), "creator_id": secrets.token_hex(16)}
    if set(ids) != known:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps(ids, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return ids


def build(folder: Path, session: EmbeddingSession, ids: Mapping[str, Mapping[str, str]]) -> IndexVersion:
    """Index the gallery's reference works in an empty folder."""
    import numpy as np

    artists = []
    for name, works in sorted(gallery_works("references").items()):
        promised = {path: sha256 for sha256, path in works}
        for outcome in session.embed(list(promised)):
            assert outcome.sha256 == promised[outcome.path], f"{outcome.path} is not what was shipped"
        stored = session.space.get_many([sha256 for sha256, _ in works])
        vectors = np.concatenate([stored[sha256] for sha256, _ in works])
        named = ids[name]
        sha256s = [sha256 for sha256, _ in works]
        artists.append(ArtistWorks(named["artist_id"], named["creator_id"], sha256s, vectors))
    fitted = fit_panel(session, bundled_panel())
    return build_index(
        folder,
        artists,
        space=fitted.space,
        strangers=fitted.strangers(),
        encoder_id=session.encoder.encoder_id,
        variant=session.encoder.variant,
    )


def replace_index(built: Path, out: Path) -> None:
    """Put a built index in the place of an older one; the ids, and nothing else, stay."""
    out.mkdir(parents=True, exist_ok=True)
    for entry in out.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != IDS:
            entry.unlink()
    shutil.copytree(built, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK_NAME))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    ids = keep_ids(args.out / IDS, gallery_works("references"))
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "index")
        with open_session(Path(scratch, "embeddings")) as session:
            version = build(built, session, ids)
        replace_index(built, args.out)
    assert verify_index(args.out) == []
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {version.artists} artists, {version.works} works, {size / 1e6:.1f} MB")
    print(f"encoder {version.encoder_id}, manifest {version.manifest_digest}")


if __name__ == "__main__":
    main()
