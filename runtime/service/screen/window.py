"""A window that shows what the camera sees, with its label."""

import os
import queue
import signal
import threading
from typing import Any, Final

from leansight.runtime.errors import LeansightError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.runtime.service.screen.picture import labelled_picture
from leansight.runtime.stream.classified_stream import StreamResult

_MAIN_THREAD: Final = threading.main_thread().ident or 0
_TITLE: Final = "leansight"
_REFRESH_MS: Final = 20
_ENDING_KEYS: Final = frozenset({ord("q"), 27})  # 27: Esc
_WINDOW_FLAGS: Final = 0x10  # WINDOW_GUI_NORMAL, resizable and without a bar of buttons
_VISIBLE: Final = 4  # WND_PROP_VISIBLE


class Window:
    """Shows the newest picture; q, Esc and closing the window end the program as SIGTERM does.

    A thread of its own shows the pictures, so that the window answers while no camera is there.
    """

    trouble = ""

    def __init__(self) -> None:
        """Open the window; LeansightError where there is no screen, or OpenCV has no windows."""
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise LeansightError("there is no screen to open a window on", parameter="window")
        self._cv2: Any = opencv()
        self._newest = queue.Queue[Image](maxsize=1)
        self._closing = threading.Event()
        self._opened = queue.Queue[Exception | None]()
        self._thread = threading.Thread(target=self._run, daemon=True, name="leansight window")
        self._thread.start()
        if (error := self._opened.get()) is not None:
            raise LeansightError(
                "this OpenCV has no windows. Type: pip uninstall opencv-python-headless && "
                "pip install opencv-python",
                parameter="window",
            ) from error
        self._size: tuple[int, int] | None = None

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if result.frame is not None:
            self._size = result.frame.image.shape[0], result.frame.image.shape[1]
        if self._size is None or self._newest.full():
            return
        self._newest.put(labelled_picture(result, *self._size))

    def close(self) -> None:
        """See `Output`."""
        self._closing.set()
        self._thread.join(0.5)

    def _run(self) -> None:
        try:
            self._cv2.namedWindow(_TITLE, _WINDOW_FLAGS)
        except self._cv2.error as error:
            self._opened.put(error)
            return
        self._opened.put(None)
        while not self._closing.is_set():
            if not self._newest.empty():
                self._cv2.imshow(_TITLE, self._newest.get())
            key = self._cv2.waitKey(_REFRESH_MS) & 0xFF
            if key in _ENDING_KEYS or self._cv2.getWindowProperty(_TITLE, _VISIBLE) < 1:
                signal.pthread_kill(_MAIN_THREAD, signal.SIGTERM)
                break
        self._cv2.destroyAllWindows()
