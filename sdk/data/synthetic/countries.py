"""The styles of the invented countries, by name."""

from typing import Final

from leansight.sdk.data.synthetic.eastland import EASTLAND
from leansight.sdk.data.synthetic.northland import NORTHLAND
from leansight.sdk.data.synthetic.southland import SOUTHLAND

STYLES: Final = {style.name: style for style in (NORTHLAND, EASTLAND, SOUTHLAND)}
