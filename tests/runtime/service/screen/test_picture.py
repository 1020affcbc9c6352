import unicodedata

import cv2
import numpy as np
import pytest
from doubles.stream_results import GRAY, seen, unlabelled

from leansight.runtime.service.screen.picture import drawable, labelled_picture


def test_the_caption_is_on_a_copy_along_the_top() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    picture = labelled_picture(seen(image=image), 240, 320)
    assert (image == 90).all()
    assert (picture[20:] == 90).all()
    assert picture[:20].max() > 200
    assert np.median(picture[:20]) == 30


@pytest.mark.parametrize("words", ["a", "Geschwindigkeitsbegrenzung " * 4])
def test_a_caption_stays_within_its_strip(words: str) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    rows, columns = np.nonzero(labelled_picture(seen(words, image=image), 240, 320).max(axis=2))
    assert rows.max() < 20
    assert columns.max() < 318
    assert columns.max() > 20


def test_a_label_a_state_and_not_sure_have_each_its_colour() -> None:
    results = seen(), seen(None), unlabelled("stale", image=GRAY)
    colours = {tuple(labelled_picture(r, 240, 320)[:20].max(axis=(0, 1))) for r in results}
    assert len(colours) == 3


def test_umlauts_are_drawn_or_written_without_their_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 5 has letters, which differ on the picture; older ones draw two question marks."""
    assert drawable("Straße für Fußgänger") == "Straße für Fußgänger"
    with_dots, without = (labelled_picture(seen(word), 240, 320) for word in ("Öl", "Ol"))
    assert (with_dots != without).any()
    monkeypatch.delattr(cv2, "FontFace")
    assert drawable(unicodedata.normalize("NFC", "Straße für Fußgänger, 停")) == (
        "Strasse fur Fussganger, ?"
    )
