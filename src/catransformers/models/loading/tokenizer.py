"""Texts into token ids, by a `tokenizer.json`: the one format in which every Hugging Face tokeniser can be written.

A tokeniser is a file of its own beside a model, so that what a model reads is fixed with its weights. This wraps the
library `tokenizers` with what training needs: rectangular batches with masks, and a stream of ids for language models.
Small tokenisers can also be made here, offline; the same texts and size always give the same file.

Sources: Wu et al., 2016 (arXiv 1609.08144), section 4.1, word pieces, with the special tokens of BERT (arXiv
1810.04805); Sennrich et al., ACL 2016 (arXiv 1508.07909), byte-pair encoding, on bytes as in GPT-2.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from catransformers.errors import InputError, Problem
from catransformers.extras import install
from catransformers.files import write_whole
from catransformers.models.loading.torchvision_compat import import_beside_torchvision

FILE_NAME: Final = "tokenizer.json"

#: Names that published tokenisers give their padding, and after them the ends of a text, which serve where there is
#: none: a padding token is masked, so that any will do.
_PADDING: Final = (
    *("[PAD]", "<pad>", "<|pad|>", "<|finetune_right_pad_id|>", "<unk>"),
    *("</s>", "<|end_of_text|>", "<|eot_id|>", "<|endoftext|>"),
)
#: BERT's special tokens; padding is id 0.
_UNKNOWN: Final = "[UNK]"
_WORD_PIECE_SPECIAL: Final = ("[PAD]", _UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
#: Llama's special tokens, and padding first.
_BPE_SPECIAL: Final = ("<pad>", "<s>", "</s>")
#: How a word piece says that it continues a word.
_CONTINUES: Final = "##"


def _tokenizers() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise InputError(Problem("tokenizers", f"cannot be imported: {error}", hint=install("hf"))) from error


class TextTokenizer:
    """A tokeniser.

    Args:
        path: a `tokenizer.json`, or a folder that holds one. Of a Hugging Face folder with older files only (a
            vocabulary, a sentencepiece model), transformers makes one.

    Raises:
        InputError: if there is none, it cannot be read, or it has no token to pad with.
    """

    def __init__(self, path: Path) -> None:
        self._take(_from_folder(path) if path.is_dir() else _from_file(path), str(path))

    def _take(self, tokenizer: Any, where: str) -> None:
        self._tokenizer = tokenizer
        self._pad_id = _pad_id(tokenizer, where)
        tokenizer.no_padding()
        tokenizer.no_truncation()

    @classmethod
    def of(cls, tokenizer: Any, where: str) -> TextTokenizer:
        """From a `tokenizers.Tokenizer`, which `where` names in messages.

        Raises:
            InputError: if it has no token to pad with.
        """
        made = cls.__new__(cls)
        made._take(tokenizer, where)
        return made

    @property
    def pad_id(self) -> int:
        """The id that fills texts up."""
        return self._pad_id

    @property
    def pad_token(self) -> str:
        """What that id stands for."""
        return str(self._tokenizer.id_to_token(self._pad_id))

    @property
    def vocab_size(self) -> int:
        """One more than the greatest id: the least number of rows of a model's token table."""
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return 1 + max(ids.values())

    def encode(self, texts: Sequence[str | tuple[str, str]], length: int) -> dict[str, Tensor]:
        """Texts, or pairs of texts, as a batch, with the special tokens that the tokeniser puts around them.

        Longer ones are cut, of a pair the longer text first; shorter ones are padded on the right.

        Args:
            texts: b of them.
            length: tokens of each, special ones included.

        Returns:
            `tokens` (b, length) int64, `mask` (b, length) bool, true where a token is no padding, and `types`
            (b, length) int64.

        Raises:
            InputError: if the special tokens alone are more than `length`.
        """
        special = max(
            (self._tokenizer.num_special_tokens_to_add(not isinstance(text, str)) for text in texts), default=0
        )
        if length <= special:
            what = f"{length} tokens leave no room for text beside {special} special ones"
            raise InputError(Problem("tokens", what, f"from {special + 1}"))
        self._tokenizer.enable_truncation(length, strategy="longest_first")
        try:
            encodings = self._tokenizer.encode_batch(list(texts))
        finally:
            self._tokenizer.no_truncation()
        tokens = torch.full((len(texts), length), self._pad_id, dtype=torch.int64)
        types = torch.zeros(len(texts), length, dtype=torch.int64)
        lengths = torch.zeros(len(texts), 1, dtype=torch.int64)
        for row, encoding in enumerate(encodings):
            used = len(encoding.ids)
            tokens[row, :used] = torch.tensor(encoding.ids, dtype=torch.int64)
            types[row, :used] = torch.tensor(encoding.type_ids, dtype=torch.int64)
            lengths[row] = used
        return {"tokens": tokens, "mask": torch.arange(length) < lengths, "types": types}

    def encode_stream(self, text: str) -> Tensor:
        """The ids (n,) int64 of a text of any length, without special tokens, for language modelling."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return torch.tensor(ids, dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """The text of ids (n,), without special tokens."""
        text: str = self._tokenizer.decode(ids.tolist())
        return text

    def save(self, path: Path) -> None:
        """Write the tokeniser as `path`, a `tokenizer.json`; whole or not at all.

        Raises:
            OSError: if the folder cannot be written.
        """
        write_whole(path, self._tokenizer.to_str(pretty=True) + "\n")


def _from_file(path: Path) -> Any:
    tokenizers = _tokenizers()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "is no text", "a tokenizer.json")) from error
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more precise
        raise InputError(Problem(str(path), f"is no tokenizer.json: {error}")) from error


def _from_folder(folder: Path) -> Any:
    if (folder / FILE_NAME).is_file():
        return _from_file(folder / FILE_NAME)
    transformers = import_beside_torchvision("transformers", install("hf"))
    hint = f"put a {FILE_NAME} there: AutoTokenizer.from_pretrained(…).save_pretrained(…) writes it for most models"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever the library finds wrong with a folder
        first = str(error).strip().partition("\n")[0]
        raise InputError(Problem(str(folder), f"has no tokeniser that can be read: {first}", hint=hint)) from error
    if not getattr(tokenizer, "is_fast", False):
        what = f"its tokeniser, {type(tokenizer).__name__}, cannot be written as a {FILE_NAME}"
        raise InputError(Problem(str(folder), what, hint=hint))
    return _tokenizers().Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())


def _pad_id(tokenizer: Any, where: str) -> int:
    padding: Mapping[str, Any] | None = tokenizer.padding
    if padding is not None:
        return int(padding["pad_id"])
    for name in _PADDING:
        found: int | None = tokenizer.token_to_id(name)
        if found is not None:
            return found
    raise InputError(Problem(where, "has no token to pad with", ", ".join(_PADDING)))


def train_wordpiece(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Word pieces of lower-case words as in BERT, learnt from some texts: `[CLS] text [SEP]`, `… pair [SEP]`.

    Args:
        texts: to learn from.
        vocab_size: tokens at most, special ones included; more than the texts' letters, and fewer if the texts have
            no more to learn.

    Raises:
        InputError: if the special tokens and letters alone are more than `vocab_size`, or there is no text.
    """
    t = _tokenizers()
    texts = list(texts)
    learner = _word_pieces(t, t.models.WordPiece(unk_token=_UNKNOWN))
    # The library numbers pieces that continue a word in the order in which its hash table, seeded anew in every
    # process, gives the words, and breaks ties by these numbers. Naming the letters beforehand fixes both.
    words = {
        word
        for text in texts
        for word, _ in learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(text))
    }
    starts = sorted({letter for word in words for letter in word})
    letters = starts + sorted({_CONTINUES + letter for word in words for letter in word[1:]})
    _check_size(len(_WORD_PIECE_SPECIAL), len(letters), vocab_size)
    learner.train_from_iterator(
        texts,
        t.trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=[*_WORD_PIECE_SPECIAL, *letters], show_progress=False
        ),
    )
    # `letters` were special only to the trainer.
    made = _word_pieces(t, t.models.WordPiece(learner.get_vocab(with_added_tokens=False), unk_token=_UNKNOWN))
    made.add_special_tokens(list(_WORD_PIECE_SPECIAL))
    made.post_processor = t.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    made.decoder = t.decoders.WordPiece(prefix=_CONTINUES)
    return TextTokenizer.of(made, "the new tokeniser")


def _word_pieces(t: Any, model: Any) -> Any:
    tokenizer = t.Tokenizer(model)
    tokenizer.normalizer = t.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def train_bpe(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Byte pairs learnt from some texts, for language models: every text can be written and read back exactly.

    Args:
        texts: to learn from.
        vocab_size: tokens at most, special ones and the 256 bytes included.

    Raises:
        InputError: if the special tokens and bytes alone are more than `vocab_size`, or there is no text.
    """
    t = _tokenizers()
    texts = list(texts)
    alphabet = sorted(t.pre_tokenizers.ByteLevel.alphabet())
    _check_size(len(_BPE_SPECIAL), len(alphabet) if any(texts) else 0, vocab_size)
    made = t.Tokenizer(t.models.BPE())
    made.pre_tokenizer = t.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = t.decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        t.trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(_BPE_SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    made.post_processor = t.processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return TextTokenizer.of(made, "the new tokeniser")


def _check_size(special: int, letters: int, vocab_size: int) -> None:
    if not letters:
        raise InputError(Problem("texts", "there is no text to learn tokens from"))
    if vocab_size < special + letters:
        what = f"{vocab_size} tokens are fewer than {special} special ones and {letters} letters"
        raise InputError(Problem("vocab_size", what, f"from {special + letters}"))
