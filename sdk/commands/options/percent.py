"""A share that is typed as percents."""

import click


class Percent(click.ParamType[float]):
    """An option's value such as "2%", as a share: 0.02."""

    name = "percent"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read percents above 0; the sign may be missing."""
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = 0.0
        if share <= 0 or share == float("inf"):
            self.fail(f"{value!r} is no share above 0, such as 2%", param, ctx)
        return share
