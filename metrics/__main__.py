"""`python -m metrics audit FILE`: an audit of anybody's predictions."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# One thread unless asked otherwise, before any numerical library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DONE, WRONG_USAGE = 0, 2

EXAMPLES = """\
three lines of pandas make a file that needs no option:

  import pandas as pd
  frame = pd.DataFrame({"patient": ids, "label": truth, "score": model_output, "sex": sex})
  frame.to_csv("predictions.csv", index=False)

  python -m metrics audit predictions.csv

which columns are what, unless an option says otherwise:
  patient              who is on the image; patients, not images, are resampled
  image                optional: a name per row
  label, score         one finding; or label_X and score_X for every finding X
                       labels are 0, 1 or empty; scores are probabilities or logits
  decision, decision_X optional: decisions made elsewhere, 0 or 1
  sex gender age age_band age_group race ethnicity insurance language
  view scanner manufacturer site hospital
                       attributes; age in years is put into <40, 40-59, 60-79, >=80
  fold                 optional: rows "test" are audited, thresholds come from rows "val"

more examples:
  python -m metrics audit test.csv --validation val.csv --operating-point sensitivity:0.90
  python -m metrics audit test.csv --threshold 0.5
  python -m metrics audit test.csv --threshold Edema=0.3 --threshold Mass=0.2
  python -m metrics audit test.csv --patient pid --label y --score p \\
      --attributes sex,race,"sex & race"
  python -m metrics audit output/phantom/erm/KEY/predictions.parquet

thresholds are never fitted on the images that are tested: without --validation, --threshold or
decisions there are AUC and calibration, and no error rates.

what it writes: report.html  one self-contained page: open it in a browser
                report.md    the same, shorter, for a repository or a reply to a reviewer
                scores.csv   every number with its counts, interval and note
                figures/     the pictures

exit status: 0 written, 2 wrong usage or a faulty table (one sentence; nothing is written)
In Python: `from metrics.audit import audit; audit(frame, attributes=["sex"]).write("out")`.
How to read it: docs/audit.md"""


class UsageError(ValueError):
    """Wrong usage, as one sentence."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, not a page."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "Audit a table of predictions: accuracy, and its differences between groups."
    made = Parser(prog="python -m metrics", description=about, epilog=EXAMPLES, formatter_class=raw)
    commands = made.add_subparsers(dest="command", metavar="audit", required=True)
    one = commands.add_parser("audit", description=about, epilog=EXAMPLES, formatter_class=raw)
    one.add_argument("table", metavar="FILE", help="a row per image, CSV or parquet")
    columns = one.add_argument_group("columns")
    for flag, metavar, told in (
        ("--patient", "COLUMN", "the patient (default: patient)"),
        ("--image", "COLUMN", "the image (default: image, if there is one)"),
        ("--label", "COLUMN,...", "the label, or several"),
        ("--score", "COLUMN,...", "the score of each label, in the same order"),
    ):
        columns.add_argument(flag, metavar=metavar, default="", help=told)
    columns.add_argument("--attributes", metavar="COLUMN,...",
                         help='columns that hold groups; "a & b" crosses two')  # fmt: skip
    columns.add_argument("--scores", metavar="KIND", default="auto",
                         help="probability or logit, where it cannot be told")  # fmt: skip
    decided = one.add_argument_group("thresholds")
    decided.add_argument("--validation", metavar="FILE",
                         help="other patients, on whom thresholds are fitted")  # fmt: skip
    decided.add_argument(
        "--operating-point", metavar="RULE", default="",
        help="specificity:X, sensitivity:X, or a name such as youden (default: specificity:0.80)",
    )  # fmt: skip
    decided.add_argument(
        "--threshold", metavar="[FINDING=]T", action="append", default=[],
        help="a threshold that was fixed before, in the unit of the scores (repeatable)",
    )  # fmt: skip
    more = one.add_argument_group("more")
    more.add_argument(
        "--macro", metavar="FINDING,...", help="what averages run over (default: all)"
    )
    more.add_argument("--replicates", metavar="B", default="1000",
                      help="resamples of patients (default: 1000; for print 2000)")  # fmt: skip
    more.add_argument("--seed", metavar="S", default="0", help="of the resampling (default: 0)")
    more.add_argument("--out", metavar="DIR", help="where to write (default: audit-<name of FILE>)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 written, 2 wrong usage or a faulty table."""
    started = time.monotonic()
    try:
        return _audit(parser().parse_args(arguments), started)
    except (ValueError, KeyError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return WRONG_USAGE


def _audit(options: argparse.Namespace, started: float) -> int:
    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    replicates = _whole("--replicates", options.replicates)
    seed, thresholds = _whole("--seed", options.seed), _thresholds(options.threshold)
    # After parsing, so that --help answers without importing what computes.
    from metrics.audit import audit
    from metrics.audit.report import check_writable

    out = Path(options.out or f"audit-{Path(options.table).name.split('.')[0]}")
    check_writable(out)
    made = audit(
        options.table,
        patient=options.patient,
        image=options.image,
        label=_names(options.label),
        score=_names(options.score),
        attributes=None if options.attributes is None else _names(options.attributes),
        validation=options.validation,
        operating_point=options.operating_point,
        thresholds=thresholds,
        scores=options.scores,
        macro=None if options.macro is None else _names(options.macro),
        replicates=replicates,
        seed=seed,
        tell=tell,
    )
    tell("drawing and writing")
    written = made.write(out)
    tell("done")
    print()
    for paragraph in made.conclusion.split("\n\n"):
        print(textwrap.fill(paragraph, 96) + "\n")
    print(f"{written.page}\n{written.markdown}\n{written.scores}")
    print(f"{len(written.figures)} figures in {out / 'figures'}")
    print(f"next: open {written.page} in a browser")
    return DONE


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _whole(option: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{option} must be a whole number, but got {text!r}; write digits only")
    return int(text)


def _thresholds(texts: Sequence[str]) -> Mapping[str, float] | float | None:
    found: dict[str, float] = {}
    for text in texts:
        finding, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError as error:
            raise UsageError(
                f"--threshold must be a number like 0.5, or FINDING=0.5, but got {text!r}; "
                "write decimals with a point"
            ) from error
        if finding in found:
            raise UsageError(f"--threshold must be given once per finding, but got {text!r} too")
        found[finding] = value
    if "" in found and len(found) > 1:
        raise UsageError(
            "--threshold must be one number for all findings, or one per finding, but got both; "
            "leave one out"
        )
    return found.get("", found) if found else None


if __name__ == "__main__":
    sys.exit(main())
