"""Tokens and text: the chat format, and decoding by table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from reasoning.problem import Message


def chat(messages: Iterable[Message]) -> str:
    """The ChatML text that asks the assistant to answer `messages`."""
    said = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    return f"{said}<|im_start|>assistant\n"


class Vocabulary:
    """The tokenizer of a checkpoint folder (byte-level BPE).

    `pieces[id]` are the bytes of a token, empty for special ones, so that the text of any tokens
    is the concatenation of their pieces.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        self._tokenizer = Tokenizer.from_file(str(path))
        raw = json.loads(path.read_text(encoding="utf-8"))
        if (raw.get("decoder") or {}).get("type") != "ByteLevel":
            raise ValueError(f"{path}: the decoder must be ByteLevel")
        added = {token["id"]: token["special"] for token in raw["added_tokens"]}
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        table = _byte_of_character()
        self.pieces = [b""] * (1 + max(vocabulary.values()))
        for token, index in vocabulary.items():
            if index in added:
                self.pieces[index] = b"" if added[index] else token.encode()
            else:
                self.pieces[index] = bytes(table[character] for character in token)
        self._names = {index: token for token, index in vocabulary.items() if index in added}
        self._spelled: dict[bytes, list[int]] = {}
        for index, piece in enumerate(self.pieces):
            if piece:
                self._spelled.setdefault(piece, []).append(index)
        self.encode_chat = lru_cache(maxsize=4096)(self._encode_chat)

    def token(self, text: str) -> int:
        """The id of the token that is written `text`."""
        index = self._tokenizer.token_to_id(text)
        if index is None:
            raise ValueError(f"the tokenizer has no token {text!r}")
        return int(index)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text`; special tokens written out in it count as such.

        Raises UnicodeEncodeError for what is not text (lone surrogates).
        """
        text.encode()  # the tokenizer would raise a TypeError that does not say why
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", errors="replace")

    def piece(self, token: int) -> bytes:
        """The bytes of one token; padding of the vocabulary has none."""
        return self.pieces[token] if token < len(self.pieces) else b""

    def name(self, token: int) -> str:
        """The text of one token by itself; a special one is written out."""
        return self._names.get(token) or self.piece(token).decode("utf-8", errors="replace")

    def spelled(self, piece: bytes) -> list[int]:
        """The tokens whose bytes are `piece`."""
        return self._spelled.get(piece, [])

    def _encode_chat(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        return self.encode(chat(messages))


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for U+0100 and up."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(kept)]
    table = {chr(byte): byte for byte in kept}
    table.update({chr(0x100 + i): byte for i, byte in enumerate(moved)})
    return table
