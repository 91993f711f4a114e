"""The API reference of the site, read from the package's files by `ast`: nothing is imported.

Beside the docstring, the comment behind each argument is shown, because shapes, ranges and units stand there."""
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT/"rs_zeroseg"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
RAISES = re.compile(r"\n*^Raises\n-{6}\n(.*)", re.M | re.S)


def modules() -> dict[str, Path]:
    "Name of each module below the package, 'model.carh' -> its file."
    found = sorted(PACKAGE.glob("*/[a-z]*.py"))
    return {f"{path.parent.name}.{path.stem}": path for path in found}


def notebook_of(source:str) -> str:
    "The notebook that a module is exported from, relative to the root of the repository."
    found = re.search(r"File to edit: (?:\.\./)*(nbs/\S+\.ipynb)", source)
    if found is None:
        raise ValueError("a module that no notebook exports; run `make export`")
    return found[1]


def escaped(text:str) -> str:
    "Plain text as Markdown: what would be markup is escaped, except between backticks."
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*<\[$\\]|^#)", r"\\\1", part, flags=re.M) for part in parts[::2]]
    return "".join(parts)


def comments(source:str) -> dict[int, str]:
    "Line -> comment on it."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def prose(doc:str|None) -> Iterator[str]:
    "The lines of a docstring; its numpy section Raises becomes fields."
    doc = doc or ""
    section = RAISES.search(doc)
    yield escaped(doc[:section.start()] if section else doc)
    yield ""
    for line in section[1].splitlines() if section else ():
        if line[:1].strip():
            yield f":raises {line.strip()}:"
        else:
            yield f"    {escaped(line.strip())}"


class Module:
    "What is public in a file: reads it once, writes its page."

    def __init__(self, name:str, path:Path):
        self.name, self.source = name, path.read_text(encoding="utf-8")
        self.lines, self.tree = self.source.splitlines(), ast.parse(self.source)
        self.comments = comments(self.source)
        self.doc = ast.get_docstring(self.tree) or ""
        self.patched:dict[str, list[ast.FunctionDef]] = {}        # class -> methods that `@patch` adds
        for node in self.tree.body:
            if isinstance(node, FUNCTIONS) and self.decorated(node, "patch") and node.args.args[0].annotation:
                owner = ast.unparse(node.args.args[0].annotation).strip("'\"")
                self.patched.setdefault(owner, []).append(node)

    @staticmethod
    def decorated(node, *names:str) -> bool:
        "Has a function or class one of these decorators?"
        told = [ast.unparse(d).partition("(")[0] for d in node.decorator_list]
        return any(d.rpartition(".")[2] in names for d in told)

    def comment(self, line:int) -> str:
        "What is said of the thing on a line: behind it, or on lines of comment above it."
        if line in self.comments:
            return self.comments[line]
        above = []
        while self.lines[line - 2].strip().startswith("# ") and not self.lines[line - 2].startswith("# %%"):
            line -= 1
            above.insert(0, self.lines[line - 1].strip("# "))
        return " ".join(above)

    def fields(self, node, skip_first:bool) -> Iterator[str]:
        "`:param x:` for each argument with a comment; `:returns:` from the comment behind the arrow."
        args = node.args
        every = [*args.posonlyargs, *args.args, *filter(None, [args.vararg]), *args.kwonlyargs,
                 *filter(None, [args.kwarg])]
        for arg in every[skip_first:]:
            alone = sum(other.lineno == arg.lineno for other in every) == 1 and arg.lineno > node.lineno
            said = self.comment(arg.lineno) if alone else ""
            if said:
                yield f":param {arg.arg}: {escaped(said)}"
        if node.returns is not None and node.returns.lineno > node.lineno:
            said = self.comments.get(node.returns.end_lineno, "")
            if said:
                yield f":returns: {escaped(said)}"

    def signature(self, node, skip_first:bool) -> str:
        "(a: int = 1, *, b) -> c"
        bare = ast.parse(ast.unparse(node)).body[0]
        assert isinstance(bare, FUNCTIONS)
        if skip_first:
            first = bare.args.posonlyargs or bare.args.args
            first.pop(0)
        arrow = f" -> {ast.unparse(bare.returns)}" if bare.returns else ""
        return f"({ast.unparse(bare.args)}){arrow}"

    def block(self, kind:str, signature:str, body:list[str], depth:int=4, options:tuple[str, ...]=()) -> list[str]:
        "A directive of Sphinx's Python domain."
        fence = ":"*depth
        head = [f"{fence}{{py:{kind}}} {signature}", f":module: rs_zeroseg.{self.name}", *options, ""]
        return [*head, *body, fence, ""]

    def function(self, node, kind:str="function", prefix:str="", depth:int=4) -> list[str]:
        "A function or a method."
        method = kind != "function"
        if method and self.decorated(node, "property", "cached_property"):
            returns = (f":type: {ast.unparse(node.returns)}",) if node.returns else ()
            return self.block("property", prefix + node.name, [*prose(ast.get_docstring(node))], depth, returns)
        fixed = self.decorated(node, "staticmethod")
        told = " ".join(map(ast.unparse, node.decorator_list))
        by_class = "classmethod" in told or "cls_method" in told
        options = (":staticmethod:",)*fixed + (":classmethod:",)*by_class
        bound = method and not fixed
        body = [*prose(ast.get_docstring(node)), "", *self.fields(node, bound)]
        return self.block(kind, prefix + node.name + self.signature(node, bound), body, depth, options)

    def attribute(self, node:ast.AnnAssign, depth:int) -> list[str]:
        "A field of a dataclass or a NamedTuple, or an attribute that is declared."
        options = [f":type: {ast.unparse(node.annotation)}"]
        if node.value is not None:
            options.append(f":value: {ast.unparse(node.value)}")
        said = escaped(self.comment(node.lineno))
        return self.block("attribute", ast.unparse(node.target), [said], depth, tuple(options))

    def klass(self, node:ast.ClassDef) -> list[str]:
        "A class, its fields, its methods, and those that `@patch` adds."
        own = [n for n in node.body if isinstance(n, FUNCTIONS)] + self.patched.pop(node.name, [])
        start = next((n for n in own if n.name == "__init__"), None)
        body = [*prose(ast.get_docstring(node)), ""]
        signature = node.name
        if start is not None:
            signature += self.signature(start, True).partition(" -> ")[0]
            body += self.fields(start, True)
        body.append("")
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
                body += self.attribute(part, 3)
        for method in own:
            if not method.name.startswith("_") and not self.decorated(method, "setter"):
                body += self.function(method, "method", depth=3)
        if node.bases:
            bases = ", ".join(f"`{ast.unparse(base)}`" for base in node.bases)
            body.insert(0, f"Inherits from {bases}.\n")
        return self.block("class", signature, body)

    def page(self) -> str:
        "The page of the module, in Markdown."
        notebook = notebook_of(self.source)
        lines = [f"# `{self.name}`", "", escaped(self.doc), "",
                 f"Defined, explained and tested in [{notebook[4:-6]}](../../../{notebook}).", "",
                 f"```{{py:module}} rs_zeroseg.{self.name}", "```", ""]
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                lines += self.klass(node)
            elif isinstance(node, FUNCTIONS) and not node.name.startswith("_") and not self.decorated(node, "patch"):
                lines += self.function(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                lines += self.constant(node)
        for owner, methods in self.patched.items():
            for method in methods:
                if not method.name.startswith("_"):
                    lines += self.function(method, "method", prefix=f"{owner}.")
        return "\n".join(lines) + "\n"

    def constant(self, node:ast.Assign|ast.AnnAssign) -> list[str]:
        "A public name at the top of a module."
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        every = [n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        names = [n.id for n in every if isinstance(n.ctx, ast.Store) and not n.id.startswith("_")]
        said = escaped(self.comment(node.lineno))
        return [line for name in names for line in self.block("data", name, [said])]


def public_face() -> dict[str, str]:
    "The names that `import rs_zeroseg` gives -> their module."
    tree = ast.parse((PACKAGE/"__init__.py").read_text(encoding="utf-8"))
    assigned = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "_WHERE"]
    return ast.literal_eval(assigned[0].value)


def pages() -> dict[str, str]:
    "Path below docs/api -> text: the index, a page for each part, a page for each module."
    read = {name: Module(name, path) for name, path in modules().items()}
    made = {f"{name.replace('.', '/')}.md": module.page() for name, module in read.items()}
    face = [f"- {{py:obj}}`rs_zeroseg.{name} <rs_zeroseg.{where}.{name}>`" for name, where in public_face().items()]
    index = ["# API reference", "", "`import rs_zeroseg` gives these names. A module is loaded when it is first used.",
             "", *face, "", "All modules, by part of the package:", ""]
    for part in dict.fromkeys(name.partition(".")[0] for name in read):
        inside = {name: module for name, module in read.items() if name.startswith(f"{part}.")}
        listed = [f"- [`{name}`]({part}/{name.partition('.')[2]}.md): {escaped(module.doc.partition(chr(10))[0])}"
                  for name, module in inside.items()]
        index += [f"## `rs_zeroseg.{part}`", "", *listed, ""]
    made["index.md"] = "\n".join(index)
    return made
