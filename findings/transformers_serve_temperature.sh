#!/usr/bin/env bash
# transformers 5.24.0, `transformers serve`: the temperature of a request does not turn sampling on.
# Where a checkpoint's generation_config.json has no `do_sample: true`, every answer is the greedy
# one, at any temperature and seed, with status 200 and no word about it. So best-of-N over such a
# server chooses among N equal answers.
#
# Met on 2026-11-28, torch 2.13.0 on a CPU. Output:
#   as saved:               8 seeds at temperature 1.5 give 1 text(s)
#   with do_sample: true:   8 seeds at temperature 1.5 give 8 text(s)
#
# Fails once this is no longer so.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'kill $server 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
pip install -qq torch==2.13.0 'transformers[serving]==5.24.0'
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
cd "$work"

python - <<'PY'
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM, PreTrainedTokenizerFast

vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
tokenizer = Tokenizer(models.BPE(vocabulary, []))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
fast.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
fast.save_pretrained("model")
torch.manual_seed(0)
config = Qwen2Config(
    vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2, eos_token_id=fast.eos_token_id,
)
Qwen2ForCausalLM(config).save_pretrained("model")
PY

texts() {  # how many texts eight seeds give
  transformers serve "$work/model" --host 127.0.0.1 --port 8765 --device cpu > log 2>&1 &
  server=$!
  until python -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8765/health")' 2> /dev/null; do
    kill -0 $server
    sleep 1
  done
  python - "$work/model" <<'PY'
import json, sys, urllib.request

texts = set()
for seed in range(8):
    body = {"model": sys.argv[1], "prompt": "Hello", "max_tokens": 12, "temperature": 1.5, "seed": seed}
    request = urllib.request.Request(
        "http://127.0.0.1:8765/v1/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    texts.add(json.load(urllib.request.urlopen(request))["choices"][0]["text"])
print(len(texts))
PY
  kill $server
  wait $server 2> /dev/null || true
}

saved=$(texts)
python - <<'PY'
import json, pathlib

file = pathlib.Path("model/generation_config.json")
file.write_text(json.dumps(json.loads(file.read_text()) | {"do_sample": True}))
PY
sampling=$(texts)
echo "as saved:               8 seeds at temperature 1.5 give $saved text(s)"
echo "with do_sample: true:   8 seeds at temperature 1.5 give $sampling text(s)"
[ "$saved" = 1 ] && [ "$sampling" -gt 4 ]
