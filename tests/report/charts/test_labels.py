"""Names in a chart can be read: none on another, none outside."""

from __future__ import annotations

import random

from inversionlab.report.charts.labels import LETTER, LINE, Label, place

FRAME = (46.0, 0.0, 480.0, 250.0)


def box(label: Label) -> tuple[float, float, float, float]:
    width = LETTER * len(label.text)
    left = label.x - (width if label.anchor == "end" else 0)
    return left, label.y - 4 - LINE / 2, left + width, label.y - 4 + LINE / 2


def apart(labels: tuple[Label, ...]) -> bool:
    boxes = [box(label) for label in labels]
    return not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )


def test_a_lone_name_stands_right_of_its_dot():
    (label,) = place([(100, 60, "purifier")], [(100, 60)], FRAME)
    assert label == Label(110, 64, "purifier", "start", None)


def test_at_the_right_edge_it_stands_left():
    (label,) = place([(470, 60, "purifier")], [(470, 60)], FRAME)
    assert (label.x, label.anchor) == (460, "end")


def test_names_of_one_dot_stand_above_each_other_with_a_line_to_it():
    names = [(60.0, 60.0, text) for text in ("undefended", "adversarial noise", "uniform noise")]
    labels = place(names, [(60, 60)], FRAME)
    assert apart(labels)
    assert [label.dot for label in labels] == [None, (60, 60), (60, 60)]


def test_a_name_keeps_off_other_dots():
    (label,) = place([(100, 60, "purifier")], [(100, 60), (130, 60)], FRAME)
    assert label.anchor == "end" or label.dot


def test_ten_long_names_close_together_stay_inside_and_apart():
    stream = random.Random(0)
    for _ in range(100):
        names = [
            (stream.uniform(46, 464), stream.uniform(14, 60), "adversarial noise, own noise")
            for _ in range(10)
        ]
        labels = place(names, [name[:2] for name in names], FRAME)
        assert apart(labels)
        for left, top, right, bottom in map(box, labels):
            assert left >= 46
            assert top >= 0
            assert right <= 480
            assert bottom <= 250


def test_a_name_longer_than_the_chart_still_stands_somewhere():
    (label,) = place([(400, 60, "x" * 200)], [(400, 60)], FRAME)
    assert label.anchor == "end"
