import hashlib
import itertools
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from multiprocessing import active_children
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.images import read_image
from leansight.sdk.commands.data import command
from leansight.sdk.data.synthetic import videos as synthetic
from leansight.sdk.data.synthetic.countries import STYLES
from leansight.sdk.data.synthetic.northland import NORTHLAND
from leansight.sdk.data.synthetic.signs import draw_sign
from leansight.sdk.data.synthetic.southland import SOUTHLAND
from leansight.sdk.data.synthetic.styles import LABELS, Style

NAMES = """\
ahead-only children cyclists danger give-way keep-right left-hand-curve no-entry no-overtaking \
no-vehicles priority-road right-hand-curve right-of-way road-narrows-right road-works roundabout \
slippery-road speed-limit-50 speed-limit-70 stop uneven-road"""


def ignore(frames: int) -> None:
    del frames


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.png")
    }


# Two frames of every class in every country: as much as there is to see, in little time.
FEW = [
    synthetic.Video(country=country, label=label, number=number, frames=2)
    for label in LABELS
    for number, country in enumerate(STYLES)
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "signs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "plan", lambda _: FEW)
        synthetic.write_signs(out, images=126, seed=0, workers=1, written=ignore)
    return out


@pytest.fixture(scope="module")
def videos() -> list[list[synthetic.Image]]:
    chosen = [v for v in synthetic.plan(5000) if v.label == "no-entry" and v.number % 2]
    return [synthetic.film(video, 0) for video in chosen]


# The signs


def test_the_classes_are_the_21_named_ones() -> None:
    assert " ".join(LABELS) == NAMES


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_sign_is_bgra_opaque_in_the_middle_and_clear_in_the_corners(style: Style) -> None:
    for label in LABELS:
        sign = draw_sign(label, style, 64)
        assert (sign.shape, sign.dtype) == ((64, 64, 4), np.uint8)
        assert sign[24:40, 24:40, 3].min() == 255, label
        assert sign[[0, 0, -1, -1], [0, -1, 0, -1], 3].max() == 0, label


def test_the_edge_of_a_sign_is_smooth() -> None:
    alpha = draw_sign("no-entry", NORTHLAND, 64)[..., 3]
    assert ((alpha > 0) & (alpha < 255)).sum() > 100


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_every_two_signs_of_a_country_differ(style: Style) -> None:
    signs = {label: draw_sign(label, style, 48).astype(float) for label in LABELS}
    for one, other in itertools.combinations(LABELS, 2):
        changed = np.abs(signs[one] - signs[other]).max(axis=2) > 60
        assert changed.mean() > 0.02, (one, other)


def test_every_sign_differs_between_the_countries() -> None:
    for label in LABELS:
        signs = [draw_sign(label, style, 48).astype(float) for style in STYLES.values()]
        for one, other in itertools.combinations(signs, 2):
            assert (np.abs(one - other).max(axis=2) > 60).mean() > 0.1, label


def test_the_curves_are_mirror_images() -> None:
    for style in STYLES.values():
        left = draw_sign("left-hand-curve", style, 64).astype(float)
        right = draw_sign("right-hand-curve", style, 64).astype(float)
        assert np.abs(left[:, ::-1] - right).mean() < 2


def test_the_ground_of_a_sign_is_white_yellow_or_cream() -> None:
    north, east, south = (
        draw_sign("no-vehicles", style, 64)[32, 32, :3].astype(int) for style in STYLES.values()
    )
    assert np.ptp(north) < 10
    assert 50 < south[2] - south[0] < 120 < east[2] - east[0]


def test_an_unknown_sign_is_refused() -> None:
    with pytest.raises(ValueError, match="no sign is called 'stopp'"):
        draw_sign("stopp", NORTHLAND, 64)


@pytest.mark.parametrize("size", [7, 601])
def test_a_size_that_cannot_be_drawn_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"8 to 600 px, not {size}"):
        draw_sign("stop", SOUTHLAND, size)


def test_a_style_without_a_plate_is_refused() -> None:
    plates = {name: plate for name, plate in NORTHLAND.plates.items() if name != "stop"}
    with pytest.raises(ValueError, match="'nowhere' has no plate for: stop"):
        Style(
            name="nowhere",
            paints=NORTHLAND.paints,
            weight=0.3,
            glyph_width=0.8,
            slant=0,
            plates=plates,
            pictograms={},
        )


# What is drawn: the plan


@pytest.mark.parametrize("images", [336, 337, 600, 1001, 5000])
def test_a_plan_shares_out_every_image_evenly(images: int) -> None:
    plan = synthetic.plan(images)
    per_class: Counter[tuple[str, str]] = Counter()
    for video in plan:
        per_class[video.country, video.label] += video.frames
    assert per_class.total() == images
    for country, share in (("northland", 3 / 8), ("eastland", 3 / 8), ("southland", 1 / 4)):
        counts = [per_class[country, label] for label in LABELS]
        assert sum(counts) == pytest.approx(images * share, abs=1)
        assert max(counts) - min(counts) <= 1
    assert min(Counter((v.country, v.label) for v in plan).values()) >= 2
    assert min(video.frames for video in plan) >= 2


def test_a_plan_of_the_default_size_has_videos_of_10_to_12_frames() -> None:
    plan = synthetic.plan(5000)
    assert {video.frames for video in plan} <= {10, 11, 12}
    north = Counter(video.label for video in plan if video.country == "northland")
    assert min(north.values()) == 8


def test_a_video_number_is_unique_within_a_class() -> None:
    for images in (336, 5000):
        numbers = Counter((video.label, video.number) for video in synthetic.plan(images))
        assert max(numbers.values()) == 1


@pytest.mark.parametrize("images", [-1, 0, 335])
def test_too_few_images_are_refused_with_the_minimum(images: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{images} images are too few.*at least 336$"):
        synthetic.write_signs(tmp_path / "signs", images=images, seed=0, written=ignore)
    assert not any(tmp_path.iterdir())


# What is drawn: the frames


def test_the_crops_of_a_video_grow(videos: list[list[synthetic.Image]]) -> None:
    for frames in videos:
        widths = [frame.shape[1] for frame in frames]
        assert widths == sorted(widths)
        assert widths[-1] >= 1.5 * widths[0]


def test_crops_are_nearly_square_and_20_to_200_px(videos: list[list[synthetic.Image]]) -> None:
    sides = np.array([frame.shape[:2] for frames in videos for frame in frames])
    assert sides.min() >= 20
    assert sides.max() <= 200
    assert np.abs(np.log(sides[:, 0] / sides[:, 1])).max() < 0.12
    assert sides.max() > 100  # some come near


def test_a_frame_differs_from_the_one_before(videos: list[list[synthetic.Image]]) -> None:
    for frames in videos:
        for one, other in itertools.pairwise(frames):
            same_size = cv2.resize(one, other.shape[1::-1])
            assert cv2.absdiff(same_size, other).mean() > 0.3


def test_some_videos_are_far_too_dark_and_some_far_too_bright(
    videos: list[list[synthetic.Image]], small: Path
) -> None:
    frames = [frames[0] for frames in videos]
    frames += [read_image(path) for path in small.glob("*/*/*_00000.png")]
    middles = [np.median(frame) for frame in frames]
    assert min(middles) < 30
    assert max(middles) > 220
    assert 50 < np.median(middles) < 160


# Files


def test_files_are_country_class_video_frame(small: Path) -> None:
    names = digests(small)
    pattern = re.compile(r"(northland|eastland|southland)/([a-z0-9-]+)/(\d{5})_(\d{5})\.png")
    frames: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for name in sorted(names):
        match = pattern.fullmatch(name)
        assert match, name
        frames[match[1], match[2], match[3]].append(int(match[4]))
    assert len(names) == 126
    assert {key[:2] for key in frames} == set(itertools.product(STYLES, LABELS))
    assert all(numbers == list(range(len(numbers))) for numbers in frames.values())


def test_every_file_is_a_colour_image_of_its_own(small: Path) -> None:
    for path in small.glob("*/*/*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape[2] == 3
        assert image.std() > 1, path
    assert len(set(digests(small).values())) == 126


def test_another_seed_gives_other_pictures() -> None:
    video = synthetic.plan(synthetic.MIN_IMAGES)[0]
    assert not np.array_equal(synthetic.film(video, 0)[0], synthetic.film(video, 1)[0])


def test_a_video_does_not_depend_on_the_size_of_the_data_set() -> None:
    small = synthetic.Video(country="northland", label="stop", number=3, frames=11)
    assert small in synthetic.plan(5000)
    assert all(map(np.array_equal, synthetic.film(small, 0), synthetic.film(small, 0)))


@pytest.mark.parametrize("name", ["folder", "folder/file"])
def test_a_place_that_is_taken_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        synthetic.write_signs(tmp_path / name, images=336, seed=0, written=ignore)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "file"]


def test_a_run_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    def stop(frames: int) -> None:
        raise KeyboardInterrupt(frames)

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_signs(tmp_path / "signs", images=336, seed=0, workers=1, written=stop)
    assert not any(tmp_path.iterdir())


def test_an_empty_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = synthetic.Video(country="northland", label="stop", number=7, frames=2)
    monkeypatch.setattr(synthetic, "plan", lambda _: [video])
    synthetic.write_signs(tmp_path, images=336, seed=0, workers=1, written=ignore)
    assert sorted(digests(tmp_path)) == [f"northland/stop/00007_0000{k}.png" for k in range(2)]


# The demo video


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[synthetic.Image]:
    out = tmp_path_factory.mktemp("demo") / "demo.mp4"
    assert synthetic.write_video(out, seconds=3) == 36
    assert list(out.parent.iterdir()) == [out]
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    frames = []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    return frames


def test_the_demo_is_a_square_video_of_the_length_asked_for(demo: list[synthetic.Image]) -> None:
    assert len(demo) == 36
    assert {frame.shape for frame in demo} == {(256, 256, 3)}


def test_a_sign_of_the_demo_follows_half_a_second_of_background(
    demo: list[synthetic.Image],
) -> None:
    change = [float(cv2.absdiff(one, other).mean()) for one, other in itertools.pairwise(demo)]
    # A cut to another scene, or a sign that appears: after 6, 18, 24 frames.
    assert sorted(np.argsort(change)[-3:].tolist()) == [5, 17, 23]


def test_a_demo_that_is_no_mp4_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"demo\.avi must end in \.mp4"):
        synthetic.write_video(tmp_path / "demo.avi")


def test_a_demo_that_opencv_cannot_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda _: False)
    with pytest.raises(DataError, match="cannot write"):
        synthetic.write_video(tmp_path / "demo.mp4")
    assert not any(tmp_path.iterdir())


# The command


def test_the_command_says_on_one_line_what_it_wrote(tmp_path: Path) -> None:
    out = tmp_path / "demo.mp4"
    result = CliRunner().invoke(command, ["video", str(out), "--seconds", "1"])
    assert result.exit_code == 0
    assert result.stdout == f"12 frames of 256 x 256 px: {out}\n"


def test_the_command_writes_the_same_bytes_on_many_processes_as_on_one(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "plan", lambda _: FEW)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    out = tmp_path / "signs"
    result = CliRunner().invoke(command, ["signs", str(out), "--images", "126"])
    assert result.exit_code == 0
    assert result.stdout == (
        f"126 images, 21 classes, 3 countries (northland, eastland, southland): {out}\n"
    )
    assert digests(out) == digests(small)


@pytest.mark.parametrize("name", ["signs", "video"])
def test_the_help_of_each_command_has_an_example(name: str) -> None:
    result = CliRunner().invoke(command, [name, "--help"])
    assert f"Example: leansight data {name} " in result.stdout


def test_the_command_is_imported_without_opencv_and_rich() -> None:
    code = "import sys, leansight.sdk.commands.data; print({'cv2', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_process_that_is_killed_ends_the_drawing_and_leaves_nothing(tmp_path: Path) -> None:
    def kill(_: int) -> None:
        for process in active_children():
            process.kill()

    with pytest.raises(LeansightError, match=r"draws images was killed .not enough memory\?"):
        synthetic.write_signs(tmp_path / "signs", images=336, seed=0, workers=2, written=kill)
    assert list(tmp_path.iterdir()) == []


DRAWING = """
from pathlib import Path
from leansight.sdk.data.synthetic.videos import write_signs
write_signs(Path("signs"), images=4000, seed=0, workers=2, written=lambda frames: None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a process with its parent")
def test_no_process_outlives_a_drawing_that_is_killed(tmp_path: Path) -> None:
    drawing = subprocess.Popen([sys.executable, "-c", DRAWING], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not any(tmp_path.rglob("*.png")):
        assert drawing.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes = Path(f"/proc/{drawing.pid}/task/{drawing.pid}/children").read_text().split()
    drawing.kill()
    drawing.wait()
    assert len(processes) >= 2
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
