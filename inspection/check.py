"""`python -m datasets check`: validate a downloaded tree before hours are spent on it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from inspection.asking import add_dataset, add_split, asked, whole_number

DONE, FAULTY = 0, 1
ELSEWHERE = "--data-root DIR"
"""Stands in a page for where the data lie."""
EXAMPLES = """\
examples:
  python -m datasets check --dataset nih-cxr14 --data-root DIR --image-size 64
  python -m datasets check --dataset csv --data-root DIR --data patient=CASE --all-images

exit codes: 0 no error (warnings and notes are told), 1 errors were found, 2 wrong usage.
docs/checking-data.md says what is looked for.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.epilog = EXAMPLES
    add_dataset(parser)
    add_split(parser)
    parser.add_argument(
        "--image-size", metavar="PX", default="224", help="side in pixels, as of the run (224)"
    )
    parser.add_argument(
        "--all-images",
        action="store_true",
        help="decode all images, not a sample of 1,000; what is decoded stays in the cache",
    )
    parser.add_argument(
        "--write-ids",
        action="store_true",
        help="name files of a restricted data set in the page too; its terms of use hold for it",
    )
    parser.add_argument(
        "--out", metavar="DIR", default="", help="where to write (check-<data set>)"
    )


def main(options: argparse.Namespace) -> int:
    """Check a data set; the exit code: 0 without an error, 1 with one."""
    from datasets.base import IMAGES
    from inspection.checking import page
    from inspection.checking.checker import check
    from inspection.page import check_writable, write
    from runs.progress import Progress

    size = whole_number(options.image_size, "--image-size", low=32, high=1024)
    out = Path(options.out or f"check-{options.dataset.replace('+', '-')}")
    check_writable(out)
    dataset, root = asked(options)
    checked = check(
        dataset,
        root,
        size=size,
        split=options.split,
        everything=options.all_images,
        tell=lambda text: print(text, file=sys.stderr, flush=True),
        progress=Progress("decoding images"),
    )
    # Names of files are told on the terminal, as runner.py tells them; a page may be passed on.
    shown = checked if options.write_ids or not checked.restricted else checked.without_ids()
    following = _following(options, clean=checked.clean, images=dataset.holds == IMAGES)
    write(out, {page.PAGE: page.html(shown, _words(options, "check"), following).encode()})
    print(page.text(checked))
    # The folder is the user's own matter, and a page may be passed on; the terminal is theirs.
    roots = shlex.join(word for root in options.data_root for word in ("--data-root", root))
    print(f"\n{out / page.PAGE}\nnext: {following.replace(ELSEWHERE, roots)}")
    return DONE if checked.clean else FAULTY


def _following(options: argparse.Namespace, *, clean: bool, images: bool) -> str:
    if not clean:
        return "mend the errors, then repeat " + _words(options, "check")
    # Embeddings need no preparation.
    return _words(options, "prepare") if images else _words(options, "")


def _words(options: argparse.Namespace, command: str) -> str:
    """The command of `datasets` for the same data set, or the run where none is named."""
    start = ["python", "-m", "datasets", command]
    words = start if command else ["python", "runner.py", "--method", "erm"]
    words += ["--dataset", options.dataset]
    for pair in options.data:
        words += ["--data", pair]
    for plugin in options.plugin:
        words += ["--plugin", plugin]
    words += ["--image-size", options.image_size] if command else []
    if command == "check" and options.all_images:
        words.append("--all-images")
    return shlex.join(words) + (f" {ELSEWHERE}" if options.data_root else "")
