"""What compiled code names, and the digest of code that no file holds."""

import dis
import hashlib
from functools import cache
from types import CodeType
from typing import Any

GLOBAL_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
ATTRIBUTE_LOADS = {"LOAD_ATTR", "LOAD_METHOD"}
WITHOUT_POSITION = {"RESUME", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR"}

Chain = tuple[str, ...]


@cache
def global_chains(code: CodeType) -> frozenset[Chain]:
    """Return the global names that code and the functions in it load, with the attributes read from each in a row.

    `torch.nn.Linear(w)` gives ("torch", "nn", "Linear") and ("w",); attributes of local variables give nothing.
    """
    chains: set[Chain] = set()
    chain: list[str] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ATTRIBUTE_LOADS and chain:
            chain.append(str(instruction.argval))
            continue
        if chain:
            chains.add(tuple(chain))
        chain = [str(instruction.argval)] if instruction.opname in GLOBAL_LOADS else []
    inner = [global_chains(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(chain for chain in chains.union(*inner) if not chain[0].startswith("@"))  # those are pytest's


def span(code: CodeType) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the first and the last (line, column) of an instruction, None where columns were not kept."""
    starts, ends = [], []
    for instruction in dis.get_instructions(code):
        place = instruction.positions
        if instruction.opname in WITHOUT_POSITION or place is None:
            continue
        if None not in (place.lineno, place.col_offset, place.end_lineno, place.end_col_offset):
            start = (int(place.lineno or 0), int(place.col_offset or 0))
            end = (int(place.end_lineno or 0), int(place.end_col_offset or 0))
            if start < end:  # the return of a lambda stands at column 0 to 0
                starts.append(start)
                ends.append(end)
    return (min(starts), max(ends)) if starts else None


def code_digest(code: CodeType) -> str:
    """Return the digest of code by its instructions, whatever their positions; docstrings are no instructions."""
    steps = [(instruction.opname, _constant(instruction.argval)) for instruction in dis.get_instructions(code)]
    signature = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_varnames)
    return hashlib.sha256(repr((signature, steps)).encode("utf-8", "surrogatepass")).hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return code_digest(value)
    if isinstance(value, frozenset):  # whose order differs from process to process
        return f"set {sorted(map(_constant, value))}"
    return repr([_constant(part) for part in value]) if isinstance(value, tuple) else repr(value)
