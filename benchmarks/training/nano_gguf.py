"""Write the embedded model, or one of its kind, as a GGUF file for llama.cpp.

::

    pip install 'reasoning[engines]'
    python -m benchmarks.training.nano_gguf nano.gguf
    llama-server --model nano.gguf

For Qwen2 checkpoints with a byte-level BPE tokenizer in the layout of `reasoning.backends.nano`;
all tensors stay float32, so that both engines say the same. Other models: llama.cpp's own
convert_hf_to_gguf.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from reasoning.backends.nano import WEIGHTS
from reasoning.backends.nano.model import Config, load_weights


def convert(folder: Path, out: Path) -> None:
    """Write the checkpoint in `folder` to the file `out`. Raises ValueError for another kind."""
    config, weights = Config.load(folder), load_weights(folder)
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN2])
    writer.add_name(folder.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(weights["model.layers.0.mlp.gate_proj.weight"].shape[0])
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.theta)
    writer.add_layer_norm_rms_eps(config.eps)
    _add_tokenizer(writer, folder, size=weights["model.embed_tokens.weight"].shape[0])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.layers)
    for name, tensor in weights.items():
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise ValueError(f"{folder}: GGUF has no name for the tensor {name} of a Qwen2")
        writer.add_tensor(new, np.ascontiguousarray(tensor, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, folder: Path, *, size: int) -> None:
    """The vocabulary, padded to `size` rows of the embedding; a document begins without a token."""
    raw = _json(folder / "tokenizer.json")
    settings = _json(folder / "tokenizer_config.json")
    if raw["model"]["type"] != "BPE" or (raw.get("decoder") or {}).get("type") != "ByteLevel":
        raise ValueError(f"{folder}: its tokenizer must be a byte-level BPE")
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for token, index in raw["model"]["vocab"].items():
        tokens[index], kinds[index] = token, gguf.TokenType.NORMAL
    for added in raw["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], kinds[added["id"]] = added["content"], kind
    merges = raw["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(tokens.index(settings["eos_token"]))
    writer.add_pad_token_id(tokens.index(settings["pad_token"]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(settings["chat_template"])


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    parser.add_argument("--checkpoint", type=Path, default=WEIGHTS, help="a folder, as nano's")
    args = parser.parse_args(argv)
    convert(args.checkpoint, args.out)
    print(args.out)


if __name__ == "__main__":
    main()
