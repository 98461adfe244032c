#!/usr/bin/env bash
# its_hub 1.2.0, its OpenAI-compatible gateway: `temperature` and `max_tokens` of a request are
# checked (temperature 3 is refused) and then dropped, and so is the `temperature` which /configure
# takes as the default; the model behind never hears of them. What the model cut off comes back with
# finish_reason "stop". So whoever compares temperatures or bounds tokens through it measures the
# model's own defaults.
#
# Met on 2026-11-29. Output:
#   sent to the gateway: max_tokens 16, temperature 0.2; to /configure: temperature 0.9
#   sent to the model: extra_body, messages, model
#   the model says finish_reason length, the gateway stop; temperature 3: status 422
#
# Fails once this is no longer so.
set -euo pipefail
work=$(mktemp -d)
gateway=
trap 'kill $gateway 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
pip install -qq 'its_hub[iaas]==1.2.0'
cd "$work"
python -m its_hub.integration.iaas.app_server --port 8764 --log-level ERROR > log 2>&1 &
gateway=$!

cat > finding.py <<'PY'
import json
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

heard = []


class Model(BaseHTTPRequestHandler):
    """An endpoint that notes what it is asked, and is cut off by its limit."""

    def do_POST(self) -> None:
        heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "length"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        reply = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def post(path: str, **body: object) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:8764{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, {}


model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=model.serve_forever, daemon=True).start()
here = {"endpoint": f"http://127.0.0.1:{model.server_port}/v1", "api_key": "none", "model": "m"}
for _ in range(300):
    try:
        status, _ = post("/configure", **here, alg="self-consistency", budget=1, regex_patterns=["(.*)"], temperature=0.9)
        break
    except urllib.error.URLError:
        time.sleep(0.2)
assert status == 200, status
ask = {"model": "m", "messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 16}
status, answer = post("/v1/chat/completions", **ask, temperature=0.2)
assert status == 200, status
refused, _ = post("/v1/chat/completions", **ask, temperature=3)
told = answer["choices"][0]["finish_reason"]
print("sent to the gateway: max_tokens 16, temperature 0.2; to /configure: temperature 0.9")
print("sent to the model:", ", ".join(sorted(heard[0])))
print(f"the model says finish_reason length, the gateway {told}; temperature 3: status {refused}")
assert len(heard) == 1 and not {"temperature", "max_tokens", "max_completion_tokens"} & heard[0].keys()
assert (told, refused) == ("stop", 422)
PY
python finding.py
