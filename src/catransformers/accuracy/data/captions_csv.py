"""Images and captions in a CSV file of your own.

Columns `image` (a path, relative to the CSV's folder), `caption` and, if you like, `split` (`train`, `calibration`,
`validation`, `test`). An image may stand in several rows, with a caption each.
"""

from __future__ import annotations

from pathlib import Path

from catransformers.accuracy.data.captioned import CaptionedImages
from catransformers.accuracy.data.samples import Samples
from catransformers.accuracy.data.tables import need_columns, read_table


def fits(path: Path) -> bool:
    """Whether it is a CSV file."""
    return path.is_file() and path.suffix.lower() == ".csv"


def read(path: Path, seed: int) -> Samples:
    """The captioned images of a CSV file; image files are looked for, not opened.

    Args:
        path: the CSV file.
        seed: of the splits that the file does not name.

    Raises:
        InputError: with every mistake of the file, counted by kind, with lines.
    """
    table = read_table(path)
    need_columns(table, ("image", "caption"), "image, caption and, if you like, split")
    images = CaptionedImages(path, has_splits="split" in table.header, faults=table.faults)
    for line, row in table.rows:
        images.add(row["image"], path.parent, [row["caption"]], row.get("split", ""), f"line {line}")
    return images.finish(seed)
