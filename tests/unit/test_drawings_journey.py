"""The drawings of the road and of the tunnel: what they show is where it belongs."""

import re
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
from helpers import figures
from helpers.figures.kit import ROLES
from helpers.figures.road import STATIONS
from helpers.style import alt_text

ROOT = Path(__file__).resolve().parents[2]


def places_of(ax):
    """Return where each text is written, by the text."""
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


def arrows_of(ax):
    return [(note.xyann, note.xy) for note in ax.texts if hasattr(note, "xyann")]


def test_the_journey_stops_at_every_chapter_that_has_a_number_and_at_no_other():
    numbers = {int(path.name[:2]) for path in (ROOT / "notebooks").glob("[0-8][0-9]_*.ipynb")}
    assert {number for station in STATIONS for number in station.chapters} == numbers


def test_the_road_passes_the_stations_in_their_order():
    ax = figures.journey()
    names = [*(station.name for station in STATIONS), "Your model"]
    places = [places_of(ax)[name] for name in names]

    def nearest(point):
        return min(names, key=lambda name: abs(complex(*point) - complex(*places_of(ax)[name])))

    assert len(arrows_of(ax)) == len(names) - 1
    for (start, end), a, b in zip(arrows_of(ax), places, places[1:], strict=False):
        along = complex(*b) - complex(*a)
        assert abs(along.real) * abs(along.imag) < 1e-9, "a station is beside or below the last"
        assert abs(complex(*end) - complex(*start)) < abs(along)
        assert (end[0] - start[0]) * along.real >= 0 and (end[1] - start[1]) * along.imag >= 0
    assert nearest(arrows_of(ax)[0][0]) == names[0]


def test_the_journey_lights_the_chapter_and_pales_what_comes_after():
    ax = figures.journey(chapter=3)
    places = places_of(ax)
    x, y = places["Adapter"]
    assert places["you are here"] == pytest.approx((x, y - 1))
    assert [text for text in places if "✓" in text] == ["chapter 1 ✓", "chapter 2 ✓"]
    veils = [patch.get_bbox() for patch in ax.patches if patch.get_alpha()]
    pale = {
        station.name
        for station in STATIONS
        for veil in veils
        if veil.contains(places[station.name][0], places[station.name][1] - 0.5)
    }
    assert pale == {"Data", "Training", "Score", "Deployment"}
    assert alt_text(ax.figure).endswith("Chapter 3 is at Adapter.")


def test_chapter_0_stops_everywhere_but_at_deployment():
    ax = figures.journey(chapter=0)
    strong = [patch for patch in ax.patches if patch.get_linewidth() > 2]
    assert len(strong) == len(STATIONS) - 1
    x, y = places_of(ax)["Deployment"]
    assert not any(patch.get_bbox().contains(x, y) for patch in strong)


def test_the_journey_refuses_a_chapter_without_a_station():
    with pytest.raises(ValueError, match=r"chapter 99 is on no station: give one of \[0, 1,"):
        figures.journey(chapter=99)


def test_the_readme_names_the_stations_that_its_picture_shows():
    (words,) = re.findall(
        r"!\[(.+)\]\(images/journey.png\)", (ROOT / "README.md").read_text("utf-8")
    )
    found = [words.index(station.name.lower()) for station in STATIONS]
    assert found == sorted(found)


def test_the_tunnel_ends_at_jupyterlab_and_the_stranger_at_a_closed_port():
    ax = figures.tunnel()
    inside, outside = arrows_of(ax)
    places = places_of(ax)
    assert inside[0][0] > places["browser"][0] and inside[1][0] < places["JupyterLab"][0]
    assert inside[0][1] == inside[1][1] > outside[1][1]
    refused = [
        p
        for p in ax.patches
        if to_hex(p.get_facecolor(), keep_alpha=False).upper() == ROLES["wrong"].fill
    ]
    (refused,) = refused
    assert refused.get_bbox().contains(*places["port 8888"])
    assert refused.get_bbox().x0 == pytest.approx(outside[1][0])
