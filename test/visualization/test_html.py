"""HTML pages: self-contained, complete, and with foreign text escaped."""

from __future__ import annotations

import base64
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from support import browser

from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.core.errors import ErfnetError, ImageError
from erfnet_ros.visualization.html import formatting, images, render
from erfnet_ros.visualization.html.class_charts import class_bars, class_table, confusion_chart
from erfnet_ros.visualization.html.elements import (
    Cell,
    Chart,
    Code,
    Column,
    Metadata,
    Note,
    Page,
    Picture,
    Section,
    Table,
    Tile,
)
from erfnet_ros.visualization.html.histograms import calibration_chart, histogram
from erfnet_ros.visualization.html.line_charts import Series, curves, timeline

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "<script>render.title='taken'</script>",
    '"><img src=http://example.com/x onerror=alert(1)>',
    "</svg></table><b>bold",
    "$\\frac$ #010199 &amp; | `x`",
    "{{ 7 * 7 }}",
)


def page_of(*blocks: object, **parts: object) -> Page:
    """Return a page with the blocks in one section."""
    return Page(**{"title": "title", "subtitle": "", "tiles": [], "sections": [Section("section", blocks)], **parts})


def hostile_page() -> Page:
    """Return a page with every element and every chart, in each place a text that wants to be markup."""
    names, bad = HOSTILE, HOSTILE[0]
    matrix = np.arange(30).reshape(5, 6)
    line = Series(bad, np.arange(5.0), np.arange(5.0))
    shares = [0.9, 0.5, None, 0.2, 0.1]
    blocks = [
        class_bars(names, shares, bad, caption=bad, mean=0.4, other=shares, runs=(names[0], names[1])),
        confusion_chart(names, matrix, bad),
        class_table(names, CAMVID.colors[:5], matrix, iou=shares, more={bad: shares}, other_iou=shares, caption=bad),
        histogram([1, 2, 3], bad, unit=bad, marks={bad: 2.0}, caption=bad, other=[2, 3]),
        timeline([line, line], bad, bad, caption=bad, events=[1.0], event=bad),
        curves([line, line], bad, bad, x_label=bad),
        calibration_chart([None, 0.7], [None, 0.6], [0, 5], title=bad),
        Metadata([(name, (name, name)) for name in names], (bad, bad)),
        Code("\n".join(names), bad, bad),
        Note(bad, "bad"),
        Picture(images.png_uri(np.zeros((4, 4, 3), np.uint8)), names[1], bad),
    ]
    tiles = [Tile(name, name, name, "good", name, "bad") for name in names]
    return page_of(*blocks, title=bad, subtitle=bad, tiles=tiles, notes=[Note(bad)], footer=bad)


@functools.cache
def hostile_html() -> str:
    """Return that page, rendered once for all tests that only look at it."""
    return render.render(hostile_page())


def texts(svg: str) -> list[str]:
    """Return what is written in a chart, in the order of drawing."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_no_name_puts_markup_into_the_page() -> None:
    """Class names, topics and file names come from anybody."""
    html = hostile_html()
    found = browser.Document(html)
    assert not {"script", "b", "link", "iframe", "object"} & set(found.tags)
    assert found.tags.count("img") == 1
    assert found.handlers == []
    for name in HOSTILE:
        assert " ".join(name.split()) in found.text


def test_a_page_asks_the_network_for_nothing() -> None:
    """A report is opened from a CI job's files, on a train, in a year."""
    html = hostile_html()
    references = browser.Document(html).references
    assert references
    assert not [reference for reference in references if not reference.startswith(("data:", "#"))]
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_the_same_page_gives_the_same_bytes_in_another_process() -> None:
    """Two reports of one run can be compared, and one under version control does not change by itself."""
    program = (
        "import sys; sys.path[:0] = ['test', 'test/visualization']; import test_html; print(test_html.hostile_html())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == hostile_html() + "\n"


def test_a_browser_shows_the_page_and_runs_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(hostile_html(), encoding="utf-8")
    found = browser.document(tmp_path / "page.html", tmp_path)
    assert "taken" not in found.text.replace(HOSTILE[0], "")
    assert not {"script", "b"} & set(found.tags)
    assert all(" ".join(name.split()) in found.text for name in HOSTILE)


def test_a_browser_draws_the_charts_in_the_colors_of_the_page(tmp_path: Path) -> None:
    """Drawn in stand-in colors, a chart whose variables are not found would be black."""
    chart = class_bars(CAMVID.names, [0.9] * 11, "IoU", other=[0.8] * 11)
    page = page_of(chart, Table([Column("figure", False), Column("value")], [[Cell("mIoU"), Cell("90 %", "good")]]))
    shown = browser.show(render.write(page, tmp_path / "page.html"), tmp_path)
    style = (ROOT / "erfnet_ros" / "visualization" / "html" / "page.css").read_text()
    for variable in ("--accent", "--other"):
        color = re.search(rf"{variable}: #(\w{{6}})", style)
        assert color
        pixels = (shown == list(bytes.fromhex(color[1]))).all(axis=2).sum()
        assert pixels > 11 * 200 * 5, f"{variable} covers {pixels} pixels"


def test_sections_without_content_are_left_out() -> None:
    html = render.render(page_of(Note("x"), sections=[Section("empty", []), Section("full", [Note("x")])]))
    assert "full" in html
    assert "empty" not in html


def test_a_block_without_neighbor_takes_the_whole_width() -> None:
    """A hole in the middle of a page looks like something that failed to load."""
    half, wide = Chart("<svg></svg>", "half"), Chart("<svg></svg>", "wide", wide=True)
    html = render.render(page_of(half, half, half, wide, half))
    assert re.findall(r'<figure class="chart( wide)?">', html) == ["", "", " wide", " wide", " wide"]


def test_bars_stand_best_first_and_absent_classes_last() -> None:
    written = texts(class_bars(("a", "b", "c"), (0.25, None, 0.5), "IoU", mean=0.375).svg)
    assert [text for text in written if text in ("a", "b", "c")] == ["c", "a", "b"]
    assert {"50.0", "25.0", formatting.UNKNOWN, "mean 37.5 %"} <= set(written)


def test_a_bar_is_as_long_as_its_share() -> None:
    svg = class_bars(("a", "b"), (0.8, 0.4), "IoU").svg
    bars = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*"[^>]*fill: var\(--accent\)', svg)
    lengths = [float(right) - float(left) for left, right in bars]
    assert lengths[0] / lengths[1] == pytest.approx(2, rel=0.01)


def test_the_confusion_matrix_is_in_percent_of_each_row() -> None:
    matrix = np.array([[75, 25, 0], [1, 999, 0]])
    chart = confusion_chart(("left", "right"), matrix)
    written = texts(chart.svg)
    assert [text for text in written if text.isdecimal()] == ["75", "25", "100"]
    assert "no answer" not in written


def test_the_confusion_matrix_shows_what_was_not_answered_and_which_class_is_not_there() -> None:
    chart = confusion_chart(("left", "right"), np.array([[50, 0, 50], [0, 0, 0]]))
    assert {"no answer", "right (none)", "50"} <= set(texts(chart.svg))


@pytest.mark.parametrize("class_set", [CAMVID, CITYSCAPES], ids=lambda class_set: class_set.name)
def test_a_full_confusion_matrix_has_every_name_and_stays_small(class_set: ClassSet) -> None:
    classes = len(class_set)
    matrix = 10 + 500 * np.eye(classes, classes + 1, dtype=np.int64)
    svg = confusion_chart(class_set.names, matrix).svg
    assert all(texts(svg).count(name) == 2 for name in class_set.names)
    assert len(svg) < 20_000 + 430 * classes * (classes + 1)


def test_a_long_run_makes_a_small_time_line_that_keeps_the_extremes() -> None:
    times, values = np.arange(10_000) / 15, np.full(10_000, 40.0)
    values[5_000] = 900.0
    chart = timeline([Series("latency", times, values)], "Latency", "ms", events=[1.0, 2.0], event="no mask")
    assert len(chart.svg) < 33_000
    assert "800" in texts(chart.svg), "the axis does not reach the slowest frame"
    assert "median" in chart.caption


def test_a_short_run_is_drawn_frame_by_frame() -> None:
    assert "median" not in timeline([Series("a", np.arange(9.0), np.ones(9))], "Latency", "ms").caption


def test_a_few_slow_frames_do_not_squeeze_the_histogram() -> None:
    """The first frame of a run may take a hundred times as long as the rest."""
    values = [*np.linspace(40, 60, 999), 5_000.0]
    chart = histogram(values, "Latency", unit="ms", marks={"p50": 50.0, "max": 5_000.0})
    assert "(1)" in chart.caption
    assert "max 5000.0 →" in texts(chart.svg)
    assert "p50 50.0" in texts(chart.svg)


def test_a_histogram_of_equal_values_can_be_drawn() -> None:
    assert "p50 7.0" in texts(histogram([7.0, 7.0], "Latency", unit="ms", marks={"p50": 7.0}).svg)


def test_the_calibration_curve_leaves_out_bins_without_a_pixel() -> None:
    svg = calibration_chart([None, 0.5, 0.9], [None, 0.4, 0.8], [0, 10, 30]).svg
    assert len(re.findall(r"<use [^>]*fill: var\(--accent\)", svg)) == 2 + 1, "two points and the legend's"


def test_curves_leave_out_steps_without_a_value() -> None:
    line = Series("mIoU", np.arange(4.0), np.array([np.nan, 0.2, np.nan, 0.4]))
    assert "nan" not in curves([line], "mIoU", "mIoU", share=True).svg.lower()


def test_every_reference_within_a_chart_finds_its_target() -> None:
    """Else lines lose their clip, or marks vanish."""
    svg = calibration_chart([0.2, 0.5], [0.1, 0.4], [5, 10]).svg
    targets = set(re.findall(r' id="([^"]+)"', svg))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert references
    assert references <= targets


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    """The caller may draw figures of its own."""
    before = dict(matplotlib.rcParams)
    class_bars(("a",), (0.5,), "IoU")
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_a_chart_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot without a screen does not have it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ErfnetError, match="apt: python3-matplotlib"):
        class_bars(("a",), (0.5,), "IoU")


def test_a_mask_survives_the_page_and_a_photograph_is_made_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mask = CAMVID.palette()[random.integers(0, 11, (12, 16), np.uint8)]
    rgb = cv2.GaussianBlur(random.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 4)
    data = base64.b64decode(images.png_uri(mask).removeprefix("data:image/png;base64,"))
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(shown, mask)
    path = tmp_path / "photograph.png"
    path.write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    assert images.file_uri(path).startswith("data:image/jpeg;base64,")
    assert len(images.file_uri(path)) < len(images.png_uri(rgb)) / 2


def test_a_jpeg_file_goes_into_the_page_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "strip.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.full((8, 8, 3), 90, np.uint8))[1].tobytes())
    assert base64.b64decode(images.file_uri(path).removeprefix("data:image/jpeg;base64,")) == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"GIF? no"])
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strip.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"Expected a PNG or JPEG picture in '.*strip.png', got {len(content)} bytes"):
        images.file_uri(path)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Cannot read the picture '.*none.png': No such file"):
        images.file_uri(tmp_path / "none.png")


def test_the_table_of_classes_reads_precision_and_recall_off_the_confusion_matrix() -> None:
    matrix = np.array([[6, 2, 0], [0, 0, 0]])
    unmeasured = {"boundary F": (None, None)}
    table = class_table(
        ("road", "car"), CAMVID.colors[:2], matrix, iou=(0.75, 0.0), more=unmeasured, other_iou=(0.5, None)
    )
    row, absent = ([cell.text for cell in cells] for cells in table.rows)
    assert row == ["road", "75.0 %", "50.0 %", "+25.0 points", "100.0 %", "75.0 %", "100.00 %"]
    assert absent == ["car", "0.0 %", formatting.UNKNOWN, "", "0.0 %", formatting.UNKNOWN, "0.00 %"]
    assert table.rows[0][3].verdict == "good"


def test_markdown_tables_keep_their_columns_whatever_the_names_hold() -> None:
    rows = [[Cell("a|b\nc"), Cell("1", "good")], [Cell("<b>_x_"), Cell("2")]]
    lines = render.table(Table([Column("class", numeric=False), Column("IoU")], rows)).split("\n")
    assert lines[0] == "| class | IoU |"
    assert lines[1] == "| --- | ---: |"
    assert lines[2] == r"| a\|b c | 🟢 1 |"
    assert lines[3] == r"| &lt;b&gt;\_x\_ | 2 |"


def test_markdown_has_a_column_of_changes_only_where_something_is_compared() -> None:
    plain, compared = Tile("mIoU", "60 %", "test"), Tile("mIoU", "60 %", "test", "bad", "\u22121 points", "bad")
    assert "change" not in render.tiles_table([plain])
    assert "| mIoU | ❌ 60 % | 🔴 \u22121 points | test |" in render.tiles_table([compared])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formatting.percent(0.71349), "71.3 %"),
        (formatting.percent(None), formatting.UNKNOWN),
        (formatting.percent(float("nan")), formatting.UNKNOWN),
        (formatting.points(0.0123), "+1.2 points"),
        (formatting.points(-0.5), "\u221250.0 points"),
        (formatting.points(-0.0001), "±0.0 points"),
        (formatting.milliseconds(41.26), "41.3 ms"),
        (formatting.milliseconds(412.6), "413 ms"),
        (formatting.milliseconds(1250), "1.25 s"),
        (formatting.signed_milliseconds(3), "+3.0 ms"),
        (formatting.signed_milliseconds(-3), "\u22123.0 ms"),
        (formatting.number(1234567), "1\u202f234\u202f567"),
        (formatting.number(12.345, 2), "12.35"),
        (formatting.duration(12.34), "12.3 s"),
        (formatting.duration(59.99), "1 min 00 s"),
        (formatting.duration(245), "4 min 05 s"),
        (formatting.duration(1312), "22 min"),
        (formatting.duration(3599), "1 h 00 min"),
        (formatting.duration(11_520), "3 h 12 min"),
        (formatting.duration(None), formatting.UNKNOWN),
    ],
)
def test_numbers_are_written_for_people(shown: str, expected: str) -> None:
    assert shown == expected
