"""What leansight raises when something is wrong with what it was given."""


class LeansightError(Exception):
    """Something a user can put right: the message says what was wrong and what to do.

    `parameter` is the name of the function's parameter that was wrong, where there is one, such
    as "out": a program that has asked its user for it knows what it is called there.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class BrokenPackageError(LeansightError, ImportError):
    """A package is installed but cannot be imported; the message gives the reason and a remedy."""


class BundleError(LeansightError, ValueError):
    """A bundle or model file is missing, damaged, not trusted, or not what it says it is."""


class DataError(LeansightError, ValueError):
    """An image, a folder of images, a recipe or a run cannot be used as it is."""


class DamagedFrameError(DataError):
    """A frame arrived damaged; the next one may be whole. A `Source` may raise it from `read`."""


class SourceError(LeansightError, OSError):
    """A camera, video file or stream cannot be opened, or has been lost."""


class SourceOptionError(SourceError, ValueError):
    """A source cannot be had as was asked, such as with a region that is outside its frames."""


class InferenceError(LeansightError, RuntimeError):
    """The process that runs a model has crashed, does not answer, or fails."""


class MissingExtraError(LeansightError, ImportError):
    """A package is missing that belongs to one of leansight's extras, or comes from apt.

    `remedy` is what its message was made of: package, extra, and system package.
    """

    def __init__(self, package: str, extra: str | None, system_package: str | None = None) -> None:
        """Name the missing package and the line (or the two lines) that bring it."""
        self.remedy = package, extra, system_package
        lines = [f"pip install 'leansight[{extra}]'"] if extra else []
        if system_package:
            place = "for a virtual environment made with --system-site-packages"
            lines.append(f"sudo apt install {system_package} ({place})")
        super().__init__(f"{package} is not installed. Type: {', or: '.join(lines)}")
