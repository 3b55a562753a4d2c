"""A small platform's two months, by the real commands: answers, money, payouts, disputes, an erasure."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from workspaces import Gallery, answer, command

from fairbrush.store import Store

HOSTILE = "\"><img src=x onerror=alert('Benji')>\u202eevil"
MONTH = "2026-11"


@dataclass(frozen=True)
class Story:
    """For reading only, ``workspace`` too. ``images``: what was asked about, by a short name.

    ``andy`` is paid, ``benji`` has a hostile name and a claimed style, ``danny`` has opted out after the
    settlement, ``alan`` is unclaimed, ``jarno`` was erased after they were paid.
    """

    workspace: Path
    images: dict[str, Path]
    answers: dict[str, Any]
    names: dict[str, str]
    artist_ids: dict[str, str]


def done(workspace: Path, *words: Any) -> Any:
    ran = command(workspace, *words)
    assert ran.code == 0, ran.stderr
    return ran


def two_hands(left: Path, right: Path, file: Path) -> Path:
    """Half of one image beside half of another."""
    sides = [Image.open(side).convert("RGB").resize((224, 224)) for side in (left, right)]
    both = Image.new("RGB", (224, 224))
    both.paste(sides[0].crop((0, 0, 112, 224)), (0, 0))
    both.paste(sides[1].crop((112, 0, 224, 224)), (112, 0))
    both.save(file)
    return file


def tell_story(gallery: Gallery, folder: Path) -> Story:
    workspace = Path(shutil.copytree(gallery.workspace, folder / "space"))
    pictures = folder / "pictures"
    pictures.mkdir()
    people = {name.split()[0].lower(): name for name in gallery.works}
    works = {short: gallery.works[name] for short, name in people.items()}
    asked = {
        "alan": works["alan"][0],
        "andy": works["andy"][0],
        "andy-again": works["andy"][2],
        "benji": works["benji"][5],
        "danny": works["danny"][0],
        "danny-again": works["danny"][1],
        "jarno": works["jarno"][2],
        "nobody": works["jarno"][0],
    }
    images = {
        short: Path(shutil.copy(file, pictures / f"{short}{file.suffix}")) for short, file in asked.items()
    }
    images["both"] = two_hands(works["andy"][0], works["danny"][0], pictures / "both.png")

    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    ran = command(workspace, "attribute", pictures, "--json")
    assert ran.code == 1, ran.stderr
    answers = {Path(one["image"]["path"]).stem: one for one in ran.json["attributions"]}
    parts = ["--inputs", f"{works['andy'][0]}:2", "--inputs", f"{works['danny'][0]}:1"]
    images["mix"] = two_hands(works["andy"][1], works["danny"][1], folder / "mix.png")
    answers["mix"] = answer(workspace, "attribute", images["mix"], *parts)["attributions"][0]
    ids = {short: answer(workspace, "artist", "show", name)["artist_id"] for short, name in people.items()}
    _make_money(workspace, people, images, answers)
    with Store.open(workspace) as store, store.transaction() as connection:  # no command takes such a name
        connection.execute("UPDATE artist SET name = ? WHERE artist_id = ?", [HOSTILE, ids["benji"]])
    done(workspace, "artist", "erase", people["jarno"], "--yes", "--reason", "asked to be forgotten")
    return Story(workspace, images, answers, people, ids)


def _make_money(
    workspace: Path, people: dict[str, str], images: dict[str, Path], answers: dict[str, Any]
) -> None:
    """October is settled and paid; November after an opt-out, with a dispute that is open and one decided."""
    with (workspace / "fairbrush.toml").open("a") as file:
        file.write('\n[policy]\nplatform_fee = 0.1\nminimum_payout = { EUR = "2.00" }\n')
    done(workspace, "policy", "adopt", "--from", "2026-01-01")
    for short in ("andy", "benji", "danny", "jarno"):
        done(workspace, "artist", "claim", people[short], "--evidence", "a signed letter")
    earning = {short: image for short, image in images.items() if short != "mix"}  # which no policy here pays
    for short, image in earning.items():
        done(workspace, *revenue(f"OCT-{short}", "12.50", "EUR", image, "2026-10-05"))
    done(workspace, *revenue("OCT-yen", "990", "JPY", images["andy"], "2026-10-06"))
    done(workspace, *revenue("OCT-unasked", "8.00", "EUR", "0" * 64, "2026-10-07"))
    assert command(workspace, "settle", "2026-10").code == 1  # one image was never asked about
    payouts = {
        (one["payee"], one["currency"]): one["payout_id"]
        for one in answer(workspace, "payout", "propose")["payouts"]
    }
    done(workspace, "payout", "confirm", payouts[people["andy"], "EUR"], "--reference", "BANK-1")
    done(workspace, "payout", "fail", payouts[people["benji"], "EUR"], "--reason", "account closed")
    done(workspace, "artist", "consent", people["danny"], "opted_out", "--reason", "asked to stop")
    for short, image in earning.items():
        done(workspace, *revenue(f"NOV-{short}", "1.01", "EUR", image, "2026-11-02"))
    done(workspace, "settle", "2026-11")
    contest = ("dispute", "open", "--reason", "this is my hand", "--by")
    done(workspace, *contest, people["benji"], "--attribution", answers["andy-again"]["attribution_id"])
    claimed = answers["nobody"]["attribution_id"]
    opened = answer(workspace, *contest, people["alan"], "--attribution", claimed, "--unattributed")
    name = f"{people['alan']}:1/2"
    done(workspace, "dispute", "resolve", opened["dispute_id"], "--reason", "half of it is", "--give", name)


def revenue(reference: str, amount: str, currency: str, image: Path | str, day: str) -> tuple[Any, ...]:
    return "revenue", "add", reference, amount, currency, "--image", image, "--date", day
