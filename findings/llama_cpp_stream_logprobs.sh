#!/usr/bin/env bash
# llama.cpp's server (xllamacpp 2026.10.11549): streamed, an answer of /v1/chat/completions has one
# log-probability fewer than it has tokens, that of the token which ended it; in one piece it has
# all of them, and so has a stream of /v1/completions. Who expects one for each of
# `usage.completion_tokens`, or adds them up over an answer, gets other numbers by streaming.
#
# Met on 2026-11-28. Output:
#   /v1/completions, in one piece: 7 tokens, 7 log-probabilities
#   /v1/completions, streamed: 7 tokens, 7 log-probabilities
#   /v1/chat/completions, in one piece: 7 tokens, 7 log-probabilities
#   /v1/chat/completions, streamed: 7 tokens, 6 log-probabilities
#
# Fails once this is no longer so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
pip install -qq numpy gguf==0.19.0 xllamacpp==2026.10.11549
cd "$work"

cat > finding.py <<'PY'
import json
import urllib.request

import gguf
import numpy as np
import xllamacpp

# A model with random weights: one layer, printable ASCII, <|im_end|> ends an answer.
tokens = [chr(byte) for byte in range(0x21, 0x7F)] + ["<|im_end|>"]
end, width = len(tokens) - 1, 32
writer = gguf.GGUFWriter("model.gguf", "qwen2")
writer.add_context_length(512)
writer.add_embedding_length(width)
writer.add_block_count(1)
writer.add_feed_forward_length(64)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_rope_freq_base(10000.0)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("qwen2")
writer.add_token_list(tokens)
writer.add_token_types([gguf.TokenType.NORMAL] * end + [gguf.TokenType.CONTROL])
writer.add_token_merges(["a b"])
writer.add_eos_token_id(end)
writer.add_add_bos_token(False)
writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
random = np.random.default_rng(0)


def tensor(name: str, *shape: int) -> None:
    writer.add_tensor(name, random.normal(0, 0.1, shape).astype(np.float32))


tensor("token_embd.weight", len(tokens), width)
tensor("output.weight", len(tokens), width)
tensor("output_norm.weight", width)
for name in ("attn_q", "attn_k", "attn_v"):
    tensor(f"blk.0.{name}.weight", width, width)
    tensor(f"blk.0.{name}.bias", width)
tensor("blk.0.attn_output.weight", width, width)
tensor("blk.0.attn_norm.weight", width)
tensor("blk.0.ffn_norm.weight", width)
tensor("blk.0.ffn_gate.weight", 64, width)
tensor("blk.0.ffn_up.weight", 64, width)
tensor("blk.0.ffn_down.weight", width, 64)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

params = xllamacpp.CommonParams()
params.model.path = "model.gguf"
params.n_ctx, params.n_parallel, params.port, params.verbosity = 512, 1, 0, -1
server = xllamacpp.Server(params)


def ask(path: str, **body: object) -> tuple[str | None, int, int]:
    """Why the answer ended, its tokens, and how many log-probabilities came with it."""
    body |= {"max_tokens": 300, "seed": 7, "logit_bias": [[end, 2.0]], "temperature": 1.0}
    request = urllib.request.Request(
        f"{server.listening_address}/v1{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    reply = urllib.request.urlopen(request).read().decode()
    lines = reply.splitlines() if body.get("stream") else [f"data: {reply}"]
    events = [json.loads(line[5:]) for line in lines if line.startswith("data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    (usage,) = [event["usage"] for event in events if event.get("usage")]
    given = [(choice.get("logprobs") or {}).get("content") or [] for choice in choices]
    return choices[-1]["finish_reason"], usage["completion_tokens"], sum(map(len, given))


message = {"messages": [{"role": "user", "content": "Hello"}], "logprobs": True}
text = {"prompt": "Hello", "logprobs": 1}
streamed = {"stream": True, "stream_options": {"include_usage": True}}
missing = []
for path, asked in (("/completions", text), ("/chat/completions", message)):
    for how, more in (("in one piece", {}), ("streamed", streamed)):
        reason, count, given = ask(path, **asked, **more)
        assert reason == "stop", reason
        print(f"/v1{path}, {how}: {count} tokens, {given} log-probabilities", flush=True)
        missing.append(count - given)
assert missing == [0, 0, 0, 1], missing
PY
python finding.py
