"""What a number rests on, in a few bytes: digests of values and of code, the kind of processor, and certificates.

Two codes with different digests may compute the same, as before and after a refactoring. A certificate says so: it
holds the *fingerprint* of a code on a kind of processor, the hash of what it gives at preset smoke on all six networks.
Codes with the same fingerprint on one kind of processor are equivalent: what one has measured holds for the other.
"""

import ast
import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from nssutils import arithmetic, files
from nssutils.errors import NssError

CERTIFICATES = files.ROOT / "data" / "certificates.json"
PACKAGE = Path(__file__).resolve().parent
# Modules that shape no number by themselves: what they hold (a setting's fields) is recorded in full beside the digest.
_NEUTRAL = {f"nssutils.{name}" for name in ("errors", "settings", "files", "digests", "sealed", "bars")}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def of(value) -> str:
    """SHA-256 of a JSON-able value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_tensors(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the tensors' values, shapes and types, in their order."""
    found = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        found.update(f"{flat.dtype} {tuple(flat.shape)}".encode())
        found.update(flat.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


@cache
def processor() -> str:
    """The processor's model and the vector instructions that torch uses of it: what decides how sums are rounded."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def certificates() -> dict[str, list[dict[str, str]]]:
    """{chapter, or "networks": [{code, processor, fingerprint, settings}]}, as `nss certify` has recorded them.

    processor: its kind, and whether it rounds to bf16 (arithmetic.by_rounding). settings: the digest of those that the
    fingerprint was taken at; all from before it was recorded had the same.

    Raises NssError where the file is damaged.
    """
    if not CERTIFICATES.exists():
        return {}
    try:
        found = json.loads(CERTIFICATES.read_bytes())
        for each in (one for several in found.values() for one in several):
            each["code"], each["processor"], each["fingerprint"]
        return found
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise NssError(
            f"{CERTIFICATES} cannot be read ({type(error).__name__}: {error}), expected what `nss certify` wrote; "
            "restore it with git checkout."
        ) from error


def certify(what: str, code: str, fingerprint: str, settings: str) -> bool:
    """Record what a code of a chapter (or of "networks") gives on this kind of processor, at settings told by their
    digest; whether that is news.

    Raises NssError where the same code has given something else here before: it is not deterministic.
    """
    known = certificates()
    # Where bf16 is not computed but rounded to, sums have another order.
    place = processor() if arithmetic.takes_bf16() else f"{processor()}, bf16 by rounding"
    here = {"code": code, "processor": place, "settings": settings}
    mine = [each for each in known.get(what, []) if {name: each.get(name) for name in here} == here]
    if mine and mine[0]["fingerprint"] != fingerprint:
        raise NssError(
            f"{what}: code {code[:8]} gave {mine[0]['fingerprint'][:8]} on this kind of processor ({place}) and "
            f"now gives {fingerprint[:8]}, expected the same. It depends on something that is not recorded."
        )
    if not mine:
        known.setdefault(what, []).append(here | {"fingerprint": fingerprint})
        with files.atomically(CERTIFICATES) as partial:
            partial.write_text(json.dumps(known, indent=1) + "\n")
    return not mine


def equivalent(what: str, first: str, second: str) -> bool:
    """Whether two codes of a chapter (or of "networks") are the same, or certified to compute the same somewhere, be it
    by codes between them; and nowhere seen to differ."""
    if first == second:
        return True
    gave: dict[str, dict[tuple, str]] = {}  # by code: what, by place, a kind of processor and settings
    for each in certificates().get(what, []):
        gave.setdefault(each["code"], {})[each["processor"], each.get("settings")] = each["fingerprint"]
    alike, waiting = {first}, [first]
    while waiting:
        mine = gave.get(waiting.pop(), {}).items()
        found = {code for code, its in gave.items() if mine & its.items()} - alike
        alike |= found
        waiting += found
    one, other = gave.get(first, {}), gave.get(second, {})
    return second in alike and all(one[place] == other[place] for place in one.keys() & other.keys())


@cache
def code(*roots: str) -> str:
    """SHA-256 over the given definitions, as "studies.rq1.measure", and all that they call for in the package.

    What a definition calls for is read off the names in it: other definitions of its module, and those of modules that
    it imports. Comments, docstrings, annotations, layout and progress bars do not count, nor does the version of
    Python: what computes the same mostly keeps its digest.
    """
    waiting, found = [_resolved(f"nssutils.{root}") for root in roots], {}
    while waiting:
        module, name = waiting.pop()
        if (module, name) in found or module in _NEUTRAL:
            continue
        parsed = _parsed(module)
        names = list(parsed.definitions) if name is None else [name]
        nodes = [node for each in names for node in parsed.definitions.get(each, [])]
        if name is not None and not nodes:
            if name in parsed.imports:  # a name that the module hands on
                waiting.append(parsed.imports[name])
                continue
            raise LookupError(f"{module} has no definition {name!r} to make a digest of.")
        found[module, name] = [_read(module, node)[0] for node in nodes]
        found[module, ""] = [_read(module, node)[0] for node in parsed.statements]
        for node in (*nodes, *parsed.statements):
            waiting += _read(module, node)[1]
    return of(sorted([module, name or "*", body] for (module, name), body in found.items()))


@dataclass
class _Module:
    """A module's code, parsed: what it defines by which name, what its imports stand for, and what else it does."""

    name: str
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # alias -> (module, definition or None)
    statements: list[ast.AST] = field(default_factory=list)

    def references(self, node: ast.AST) -> list[tuple[str, str | None]]:
        """The definitions that a piece of this module's code names."""
        local = self.imports | _imports(node)
        found: list[tuple[str, str | None]] = []
        part_of: set[ast.AST] = set()  # names that an attribute is taken of
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in local:
                module, name = local[each.value.id]
                if name is None:
                    found.append(_resolved(f"{module}.{each.attr}"))
                    part_of.add(each.value)
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each not in part_of:
                if each.id in local:
                    found.append(local[each.id])
                elif each.id in self.definitions:
                    found.append((self.name, each.id))
        return found


@cache
def _parsed(module: str) -> _Module:
    parsed = _Module(module)
    for node in _Unwatched().visit(ast.parse(_source(module).read_text())).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parsed.imports |= _imports(node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            parsed.definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            for name in names:
                parsed.definitions.setdefault(name, []).append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            parsed.statements.append(node)
    return parsed


@cache  # chapters share most of their code
def _read(module: str, node: ast.AST) -> tuple[list, list[tuple[str, str | None]]]:
    """A piece of a module's code as JSON-able values, and the definitions that it names."""
    return _normal(node), _parsed(module).references(node)


class _Unwatched(ast.NodeTransformer):
    """Code without its progress bars: bars.over(work, ...) is `work`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        watched = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
        return node.args[0] if watched and (node.func.value.id, node.func.attr) == ("bars", "over") else node


def _imports(tree: ast.AST) -> dict[str, tuple[str, str | None]]:
    """What the imports of the package anywhere in a piece of code stand for."""
    found: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nssutils":
            for alias in node.names:
                found[alias.asname or alias.name] = _resolved(f"{node.module}.{alias.name}")
    return found


@cache
def _resolved(path: str) -> tuple[str, str | None]:
    """A dotted path as a module and what is meant in it, None for the whole module."""
    if _source(path):
        return path, None
    module, _, name = path.rpartition(".")
    if _source(module):
        return module, name
    raise LookupError(f"{path} is neither a module of the package nor a definition in one.")


def _source(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def _normal(node):
    """The parsed code as JSON-able values that comments, layout, docstrings and annotations do not change.

    Every version of Python must give the same: ast.unparse and ast.dump do not, since newer ones quote strings
    otherwise and know fields (empty here) that older ones lack.
    """
    if isinstance(node, list):
        return [_normal(item) for item in node if not isinstance(item, ast.Pass)]
    if not isinstance(node, ast.AST):
        return repr(node)
    unread = {ast.arg: "annotation", ast.FunctionDef: "returns"}.get(type(node))
    kept = {name: value for name, value in ast.iter_fields(node) if value is not None and name != unread}
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        kept["body"] = kept["body"][1:]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends an f-string's nested format with an empty string
        kept["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    normal = {name: _normal(value) for name, value in kept.items()}
    return [type(node).__name__, {name: value for name, value in normal.items() if value != []}]
