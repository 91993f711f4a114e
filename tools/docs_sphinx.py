"""A Sphinx extension for the site: formulas become MathML, and no page asks another server for a script."""
import re

from docutils import nodes
from latex2mathml.converter import convert

PRIME = "<mi>&#x02032;</mi>", '<mo mathsize="130%">&#x02032;</mo>'      # else too small to be seen
TAG = re.compile(r"\\tag\{(\w+)\}")


def mathml(latex:str, display:str) -> str:
    "A formula as MathML, which browsers show by themselves; the number of an equation stands behind it."
    made = convert(TAG.sub(r"\\qquad (\1)", latex), display=display)
    return made.replace(*PRIME)


def show_inline(translator, node:nodes.Node) -> None:
    "A formula within a sentence."
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def show_block(translator, node:nodes.Node) -> None:
    "A formula on a line of its own."
    translator.body.append(f'<span class="equation">{mathml(node.astext(), "block")}</span>\n')
    raise nodes.SkipNode


def without_thebe(app, pagename:str, templatename:str, context:dict, doctree) -> None:
    "Leave out the scripts by which Jupyter Book would run cells on another server."
    def told(script) -> str:
        return f"{script} {getattr(script, 'filename', '')} {getattr(script, 'attributes', '')}".lower()
    context["script_files"] = [script for script in context.get("script_files", ()) if "thebe" not in told(script)]


def setup(app) -> dict[str, bool]:
    "What Sphinx calls."
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
    app.connect("html-page-context", without_thebe, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
