"""CSD's metrics, against values worked out by hand."""

import numpy as np
import pytest

from fairbrush.accuracy.retrieval import retrieve

# one query; the database falls away from it, so its order is the ranking
QUERY = np.array([[1.0, 0.0]])
ANGLES = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
DATABASE = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])


def test_map_is_the_mean_of_every_precision_not_only_of_those_at_hits() -> None:
    found = retrieve(QUERY, ["Ann"], DATABASE, ["Ann", "Bo", "Ann", "Bo", "Bo"], cutoffs=[1, 3, 5])
    assert found.precision[1].tolist() == [1.0]
    assert found.precision[3].tolist() == pytest.approx([(1 + 1 / 2 + 2 / 3) / 3])
    assert found.precision[5].tolist() == pytest.approx([(1 + 1 / 2 + 2 / 3 + 2 / 4 + 2 / 5) / 5])


def test_recall_is_whether_one_relevant_work_is_near() -> None:
    found = retrieve(QUERY, ["Cy"], DATABASE, ["Ann", "Bo", "Cy", "Cy", "Bo"], cutoffs=[1, 2, 3, 5])
    assert [found.found[k].tolist() for k in (1, 2, 3, 5)] == [[0.0], [0.0], [1.0], [1.0]]


def test_a_query_without_relevant_works_counts_as_nothing() -> None:
    found = retrieve(QUERY, ["Dee"], DATABASE, ["Ann"] * 5, cutoffs=[5])
    assert (found.precision[5].tolist(), found.found[5].tolist()) == ([0.0], [0.0])


def test_ties_go_by_place_in_the_database() -> None:
    same = np.repeat(QUERY, 4, axis=0)
    first = retrieve(QUERY, ["Ann"], same, ["Ann", "Bo", "Bo", "Bo"], cutoffs=[1, 2])
    last = retrieve(QUERY, ["Ann"], same, ["Bo", "Bo", "Bo", "Ann"], cutoffs=[1, 2])
    assert (first.precision[2].tolist(), last.precision[2].tolist()) == ([0.75], [0.0])


def test_a_cutoff_beyond_the_database_stops_at_its_end() -> None:
    found = retrieve(QUERY, ["Ann"], DATABASE[:2], ["Ann", "Ann"], cutoffs=[100])
    assert found.precision[100].tolist() == [1.0]


def test_many_queries_are_ranked_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    artists = [f"a{i % 7}" for i in range(700)]
    together = retrieve(rows[:600], artists[:600], rows[600:], artists[600:])
    alone = [
        retrieve(rows[i : i + 1], artists[i : i + 1], rows[600:], artists[600:]) for i in range(0, 600, 37)
    ]
    assert together.precision[10][::37].tolist() == [one.precision[10][0] for one in alone]
