"""Small random checkpoints of the embedded model's architecture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Checkpoint = Callable[..., Path]
_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>")
_CORPUS = (
    "user",
    "assistant",
    "system",
    "The answer is 42.\n\nThen",
    "Ann has 3 apples.",
    "é ü ß 😀",
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Makes a folder with config, weights (language model and score head) and tokenizer."""

    def make(*, kv_heads: int = 2, context: int = 256, spread: float = 0.3) -> Path:
        folder = tmp_path_factory.mktemp("nano")
        vocab = _tokenizer(folder / "tokenizer.json")
        config: dict[str, Any] = {
            "model_type": "qwen2",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": kv_heads,
            "vocab_size": vocab,
            "max_position_embeddings": context,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "eos_token_id": vocab - 2,
        }
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        _weights(folder / "model.safetensors", config, spread)
        return folder

    return make


@pytest.fixture(scope="session")
def folder(checkpoint: Checkpoint) -> Path:
    """The checkpoint most tests use."""
    return checkpoint()


def _tokenizer(path: Path) -> int:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in _SPECIALS])
    tokenizer.save(str(path))
    return int(tokenizer.get_vocab_size())


def _weights(path: Path, config: dict[str, Any], spread: float) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]

    def normal(*shape: int, mean: float = 0.0) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.asarray(rng.normal(mean, spread, shape), np.float32)

    tensors = {
        "model.embed_tokens.weight": normal(config["vocab_size"], hidden),
        "model.norm.weight": normal(hidden, mean=1),
        "score.0.weight": normal(hidden, hidden),
        "score.0.bias": normal(hidden),
        "score.2.weight": normal(2, hidden),
        "score.2.bias": normal(2),
    }
    for i in range(config["num_hidden_layers"]):
        shapes = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        for name, shape in shapes.items():
            tensors[f"model.layers.{i}.{name}.weight"] = normal(*shape)
        for name in ("q", "k", "v"):
            size = shapes[f"self_attn.{name}_proj"][0]
            tensors[f"model.layers.{i}.self_attn.{name}_proj.bias"] = normal(size)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{i}.{name}.weight"] = normal(hidden, mean=1)
    save_file(tensors, path)
