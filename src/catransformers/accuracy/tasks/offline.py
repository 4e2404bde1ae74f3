"""Tasks that need no download, one a family beside CLIP's scenes: digits to classify, Python's own documentation to
classify by package, and the same prose to foresee. They are the tasks on users' data, on data that is always there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catransformers.accuracy.data.digits import digits
from catransformers.accuracy.data.library_text import passages, prose
from catransformers.accuracy.tasks.image_classes import ImageClassesTask
from catransformers.accuracy.tasks.language import LanguageTask
from catransformers.accuracy.tasks.on_data import for_classifier, image_reader, text_length
from catransformers.accuracy.tasks.text_classes import TextClassesTask

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


class DigitsTask(ImageClassesTask):
    """Which digit an image of 8 × 8 pixels shows; see `catransformers.accuracy.data.digits`."""

    name = "digits"


class DocstringsTask(TextClassesTask):
    """Which of eight packages a sentence documents; see `catransformers.accuracy.data.library_text`."""

    name = "docstrings"


class DocstringsLanguageTask(LanguageTask):
    """The next token of Python's documentation; see `catransformers.accuracy.data.library_text`."""

    name = "docstrings-language"


def open_digits(section: AccuracySection, base: Base) -> DigitsTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    return DigitsTask(for_classifier(digits(), base), section, image_reader(base))


def open_docstrings(section: AccuracySection, base: Base) -> DocstringsTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    length, tokenizer = text_length(section, base), base.text_tokenizer()
    return DocstringsTask(for_classifier(passages(), base), section, tokenizer, length)


def open_language(section: AccuracySection, base: Base) -> DocstringsLanguageTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    length, tokenizer = text_length(section, base), base.text_tokenizer()
    return DocstringsLanguageTask(prose(), section, tokenizer, length)
