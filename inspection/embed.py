"""`python -m datasets embed`: turn images into an embedding data set with a frozen encoder."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspection.asking import add_dataset, asked

EXAMPLES = """\
examples:
  python -m datasets embed --dataset phantom --out DIR \\
      --weights output/phantom/erm/KEY/weights.safetensors
  python -m datasets embed --dataset nih-cxr14 --data-root NIH --out DIR \\
      --weights densenet121.safetensors --on-bad-image drop
  python -m datasets embed --dataset nih-cxr14 --data-root NIH --out DIR \\
      --weights traced.pt --channels 3 --scale 0,1

then:
  python runner.py --method erm --dataset embeddings --data-root DIR

what it writes: embeddings.npy  a vector per image, float32
                table.parquet   labels, groups, folds; ids are pseudonyms if terms are restricted
                meta.json       the encoder, the data set, its terms

The same command again continues where it was stopped. docs/datasets/embeddings.md says more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.epilog = EXAMPLES
    add_dataset(parser)
    add = parser.add_argument
    add("--weights", metavar="FILE", required=True,
        help=".safetensors or .pt/.pth weights of a backbone, or a TorchScript file")  # fmt: skip
    add("--backbone", metavar="NAME", default="",
        help="whose weights they are (that of the run beside whose config.yaml they lie, else "
        "densenet121); TorchScript brings its own")  # fmt: skip
    add("--image-size", metavar="PX", default="",
        help="pixels per side (that of the run, else 224)")  # fmt: skip
    add("--channels", metavar="1|3", default="1", help="of a TorchScript encoder (1)")
    add("--scale", metavar="BLACK,WHITE", default="-2,2",
        help="what black and white become, as in --scale=-1024,1024 (-2,2)")  # fmt: skip
    add("--out", metavar="DIR", required=True, help="where to write")
    add("--batch-size", metavar="N", default="64", help="images at once (64)")
    add("--device", metavar="D", default="auto", help="cpu, cuda, cuda:1 … (auto)")
    add("--threads", metavar="N", default="", help="threads (one per usable core)")
    add("--on-bad-image", metavar="P", default="error", help="error (default) or drop")


def main(options: argparse.Namespace) -> int:
    """Embed a data set; the exit code."""
    weights = Path(options.weights).expanduser()
    backbone, pixels = _of_run(weights)
    size = _whole("--image-size", options.image_size or pixels, 32, 1024)
    channels = _whole("--channels", options.channels, 1, 3)
    batch = _whole("--batch-size", options.batch_size, 1, 65_536)
    threads = _whole("--threads", options.threads, 1, 1024) if options.threads else 0
    scale = _scale(options.scale)
    if options.on_bad_image not in ("error", "drop"):
        raise ValueError(f"--on-bad-image must be error or drop, but got {options.on_bad_image!r}")
    dataset, root = asked(options)
    # After the flags are checked: torch takes seconds.
    from datasets.base import IMAGES
    from datasets.images import prepare
    from datasets.shards import usable_cores
    from inspection.embedding import Job, with_folds
    from inspection.encoding import load
    from runs.process import settle
    from runs.progress import Progress
    from runs.values import device_named

    if dataset.holds != IMAGES:
        raise ValueError(
            f"--dataset must hold images, but {dataset.registered_name!r} holds embeddings already"
        )
    settle(threads or usable_cores())
    encoder = load(
        weights,
        backbone=options.backbone or backbone,
        image_size=size,
        channels=channels,
        scale=scale,
        device=device_named(options.device),
    )
    out = Path(options.out).expanduser().resolve()
    tell = Progress("preparing images")
    listed = with_folds(dataset, dataset.table(root))
    table = prepare(listed, size, on_bad=options.on_bad_image, progress=tell)
    for reason, rows in table.dropped.items():
        print(f"left out: {rows} rows, {reason}")
    meta = Job(dataset, table, encoder, out, batch).write(Progress("embedding"))
    if meta is None:
        print(f"already done: {out}")
    else:
        print(f"{meta.images} embeddings of {meta.width} numbers in {out} (ids: {meta.ids})")
    print(f"next: python runner.py --method erm --dataset embeddings --data-root {out}")
    return 0


def _of_run(weights: Path) -> tuple[str, str]:
    """Backbone and size of the run whose weights these are; the usual ones if they are of none."""
    import yaml

    config, held = weights.parent / "config.yaml", None
    if weights.name == "weights.safetensors" and config.is_file():
        try:
            held = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            held = None  # of some other program
    fields = held.get("set") if isinstance(held, dict) else None
    fields = fields if isinstance(fields, dict) else {}
    return str(fields.get("backbone", "densenet121")), str(fields.get("image_size", 224))


def _whole(flag: str, text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{flag} must be a whole number from {low} to {high}, but got {text!r}")
    return int(text)


def _scale(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not (low < high and abs(low) < 1e6 and abs(high) < 1e6):
        raise ValueError(
            f"--scale must be two numbers, what black and white become, such as -2,2 or 0,1, but "
            f"got {text!r}"
        )
    return low, high
