import csv
from pathlib import Path

import cv2
from fake_search import measure, optimizer
from search_folder import trials_of

from leansight.sdk.search.space import Point


def test_the_tables_say_how_to_make_each_point_again(tmp_path: Path) -> None:
    optimizer(tmp_path).run(trials=3, hours=None)
    with (tmp_path / "pareto.csv").open(newline="") as file:
        front = list(csv.DictReader(file))
    assert [row["front"] for row in front] == [str(n + 1) for n in range(len(front))]
    for row in front:
        point = Point(
            width=int(row["width"]),
            size=int(row["size"]),
            share=float(row["share"]),
            precision="int8" if row["precision"] == "int8" else "float32",
            threads=int(row["threads"]),
        )
        assert row["command"] == f"again {point.bundle_name} {row['trial']}"
        assert float(row["accuracy"]) == measure(point).accuracy
    assert len(trials_of(tmp_path)) == 3
    picture = cv2.imread(str(tmp_path / "pareto.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 600
