"""What our pages share: templates that escape every value, and one look without a network, script or file beside.

Templates are in `templates/`; what charts and tables give is marked as HTML and shows as it is.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from contender import svg

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """A self-contained HTML page, or a part of one, from a template; a name that it lacks is an error."""
    return _templates().get_template(template).render(values)


def part(template: str, **values: Any) -> Markup:
    """A part of a page that another part may hold."""
    return Markup(render(template, **values))


def table(names: Iterable[str], rows: Iterable[Iterable[Any]], bad: Sequence[bool] = ()) -> Markup:
    """A table that scrolls in its own box where the screen is narrow; HTML in a cell stands where its numbers do."""
    values = [list(row) for row in rows]
    names = list(names)
    # A column with numbers stands on the right, one below the other, words among them too.
    sides = [_N * any(_is_number(row[place]) for row in values) for place in range(len(names))]
    heads = (Markup('<th scope="col"{}>{}</th>').format(side, name) for name, side in zip(names, sides, strict=True))
    lines = [Markup('<div class="scroll" tabindex="0"><table><tr>'), *heads, Markup("</tr>")]
    for place, row in enumerate(values):
        lines.append(Markup('<tr class="bad">') if place < len(bad) and bad[place] else Markup("<tr>"))
        lines += [Markup("<td{}>{}</td>").format(side, _shown(value)) for value, side in zip(row, sides, strict=True)]
        lines.append(Markup("</tr>"))
    return Markup("").join([*lines, Markup("</table></div>")])


def number(value: float, form: str = ".4g") -> Markup:
    """A number as people read it, with its exact value for programs that read the page."""
    # NumPy's own numbers say more of themselves than their value.
    exact = float.__repr__(value) if isinstance(value, float) else repr(value)
    return Markup('<data value="{}">{}</data>').format(exact, f"{value:{form}}")


_N = Markup(' class="n"')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Markup) and not isinstance(value, bool)


def _shown(value: Any) -> Markup:
    if value is None:
        return Markup("")
    if isinstance(value, Markup) or not _is_number(value):
        return escape(value)
    return number(value, "," if isinstance(value, int) else ".4g")


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("contender"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.globals.update({"key": svg.key, "number": number, "table": table})
    return found
