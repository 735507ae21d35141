"""A method's file shows its difference from ERM, and little else."""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from pathlib import Path

from registry import METHODS, ROOT

NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENCODING, tokenize.ENDMARKER}  # fmt: skip


def lines_of_code(text: str) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - texts)


def files_of_methods() -> list[Path]:
    return sorted({e.file for e in METHODS.entries().values() if e.file.is_relative_to(ROOT)})


def test_code_is_counted_without_comments_and_docstrings() -> None:
    assert lines_of_code('"""Doc\nstring."""\n\n# why\nx = 1  # unit\n\ny = (\n    2\n)\n') == 4


def test_files_of_methods_are_short() -> None:
    sizes = {path.name: lines_of_code(path.read_text()) for path in files_of_methods()}
    assert max(sizes.values()) <= 200, sizes
    assert statistics.median(sizes.values()) <= 80, sizes
