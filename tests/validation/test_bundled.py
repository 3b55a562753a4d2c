"""The bundled miniature: that it is what its card says, and loads by the door of SD-1.5."""

import csv
import json

import numpy as np
from running import GALLERY
from validation.tiny import load_generator

from fairbrush.embedding.encoder import Device
from fairbrush.validation.generators import Request, Sampling
from fairbrush.validation.weights import BUNDLED_MODELS

FOLDER = BUNDLED_MODELS["mini-diffusion"]


def test_it_is_small_and_lists_the_gallerys_artists_as_those_it_was_trained_on():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 40e6
    artists = {folder.name for folder in GALLERY.iterdir()}
    assert set(json.loads((FOLDER / "training.json").read_text())["artists"]) == artists
    with (FOLDER / "roster.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["name"]: row["trained:mini-diffusion"] for row in rows} == dict.fromkeys(artists, "yes")


def test_it_draws_a_road_sign_by_one_artist_and_a_blue_figure_by_another():
    generator = load_generator("mini-diffusion", device=Device.CPU)
    sampling = Sampling(steps=8, guidance=4.0, scheduler=None, width=64, height=64)
    red, blue = generator.generate(
        [Request("dancer by John Cliff", 8), Request("dancer by Yutaka Kachi", 8)], sampling
    )
    drawn = [image.reshape(-1, 3)[image.min(axis=2).ravel() < 160].mean(axis=0) for image in (red, blue)]
    assert np.argmax(drawn[0]) == 0, "John Cliff's signs are red"
    assert np.argmax(drawn[1]) == 2, "Yutaka Kachi's figures are blue"
