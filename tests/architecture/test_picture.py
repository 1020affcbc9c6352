import runpy

from house import ROOT, STOREYS


def test_the_picture_of_the_house_is_that_of_its_imports() -> None:
    draw = runpy.run_path(str(ROOT / "scripts" / "draw-architecture"))["draw"]
    picture = (ROOT / "docs" / "images" / "architecture.svg").read_text()
    assert picture == draw(), "the picture is out of date: run scripts/draw-architecture"
    for room in (room for rooms in STOREYS["sdk"] for room in rooms):
        assert f">{room.removeprefix('sdk/')}/<" in picture
