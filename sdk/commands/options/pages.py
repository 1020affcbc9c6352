"""Options of `leansight stream` for what it tells in a browser, to Prometheus and in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.runtime.extras import check_installed
from leansight.runtime.service.outputs import Output
from leansight.sdk.commands.options.grouping import options_of
from leansight.sdk.commands.options.images import PATH
from leansight.sdk.commands.options.outputs import WrittenPath
from leansight.sdk.system.text import echo

WEB: Final = "127.0.0.1:8080"
METRICS: Final = "127.0.0.1:9464"
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What was given for the live page, the metrics and the hard examples."""

    web: str | None
    web_token_file: Path | None
    metrics: str | None
    hard_examples: Path | None
    hard_examples_every: float
    hard_examples_margin: float
    hard_examples_mb: float
    hard_examples_days: float

    def __post_init__(self) -> None:
        if self.web is None and self.web_token_file is not None:
            raise LeansightError("the token is of the page: add --web", parameter="web_token_file")


_ABOVE_ZERO: Final = click.FloatRange(min=0, min_open=True)
page_options: Final = options_of(
    PageOptions,
    "pages",
    (
        click.option(
            "--web",
            metavar="[HOST:PORT]",
            is_flag=False,
            flag_value=WEB,
            help=f"Show the stream on a page in a browser.  [without a value: {WEB}, for this "
            "machine alone]",
        ),
        click.option(
            "--web-token-file",
            type=PATH,
            metavar="FILE",
            help="The token that opens the page.  [default: on loopback none, else a new one]",
        ),
        click.option(
            "--metrics",
            metavar="[HOST:PORT]",
            is_flag=False,
            flag_value=METRICS,
            help=f"Answer Prometheus at /metrics.  [without a value: {METRICS}, for this machine "
            "alone]",
        ),
        click.option(
            "--hard-examples",
            type=WrittenPath(path_type=Path),
            metavar="FOLDER",
            help="Store pictures there that the bundle was not sure of, for `leansight label`.",
        ),
        click.option(
            "--hard-examples-every",
            type=click.FloatRange(min=0),
            default=5.0,
            show_default=True,
            help="Store at most one picture each so many seconds.",
        ),
        click.option(
            "--hard-examples-margin",
            type=click.FloatRange(0, 1),
            default=0.2,
            show_default=True,
            help="Store also pictures whose best label leads the second by less.",
        ),
        click.option(
            "--hard-examples-mb",
            type=_ABOVE_ZERO,
            default=200.0,
            show_default=True,
            help="Remove the pictures of the least doubt above so many megabytes.",
        ),
        click.option(
            "--hard-examples-days",
            type=_ABOVE_ZERO,
            default=30.0,
            show_default=True,
            help="Remove pictures that are older.",
        ),
    ),
)


def open_pages(
    bundle: Bundle, options: PageOptions, troubles: Mapping[str, str]
) -> dict[str, Output]:
    """Return the outputs that were asked for, by name; the page's address is told on stderr.

    `troubles` are those of all outputs, also of others; what is in it at the time is shown.

    Raises:
        LeansightError: an address is none, or cannot be listened at; a folder cannot be written.
        MissingExtraError: an extra is not installed.

    """
    outputs: dict[str, Output] = {}
    try:
        if options.hard_examples is not None:
            outputs["hard examples"] = _hard_examples(bundle, options.hard_examples, options)
        if options.metrics is not None:
            outputs["metrics"] = _metrics(options.metrics, troubles)
        if options.web is not None:
            outputs["web"] = _web_page(bundle, options.web, options.web_token_file, troubles)
    except BaseException:
        for output in outputs.values():
            output.close()
        raise
    return outputs


def _web_page(
    bundle: Bundle, web: str, token_file: Path | None, troubles: Mapping[str, str]
) -> Output:
    check_installed("starlette", "uvicorn", extra="web")
    from leansight.runtime.service.web.address import Address, token_for
    from leansight.runtime.service.web.page import WebPage

    address = Address.parse(web, default=WEB, parameter="web")
    token = token_for(address, token_file, parameter="web_token_file")
    page = WebPage(address, name=bundle.name, token=token, troubles=troubles)
    echo(f"web: {page.url}", err=True)
    return page


def _metrics(metrics: str, troubles: Mapping[str, str]) -> Output:
    check_installed("prometheus_client", extra="metrics")
    from leansight.runtime.service.metrics import Metrics
    from leansight.runtime.service.web.address import Address

    address = Address.parse(metrics, default=METRICS, parameter="metrics")
    return Metrics(address, troubles=troubles)


def _hard_examples(bundle: Bundle, folder: Path, options: PageOptions) -> Output:
    from leansight.runtime.stream.hard_examples import HardExampleLimits, HardExamples

    limits = HardExampleLimits(
        margin=options.hard_examples_margin,
        interval_s=options.hard_examples_every,
        most_bytes=int(options.hard_examples_mb * _MEGABYTE),
        most_days=options.hard_examples_days,
    )
    return HardExamples(folder, bundle, limits)
