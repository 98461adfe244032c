#!/usr/bin/env bash
# optillm 0.4.0, its OpenAI-compatible proxy, approach `none` (which passes a request on): a request
# with `stream: true` is sent to the model without it, so nothing comes before the whole answer is
# there; and when the client has left, the call of the model goes on to its end, streamed or not. So
# who puts it before a server waits for whole answers, and pays for those that nobody waits for.
#
# Met on 2026-11-29. Output:
#   the model is asked for a stream: no; first bytes of text after the model's end: yes
#   calls whose clients left after 1 s of 3: 2; ended early: 0, run to their end: 2
#
# Fails once this is no longer so.
set -euo pipefail
work=$(mktemp -d)
proxy=
trap 'kill $proxy 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
pip install -qq 'optillm==0.4.0'
cd "$work"

cat > model.py <<'PY'
"""A model that takes 3 seconds, and notes whether its caller is still there at the end."""
import json
import select
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLS = []


class Model(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = {"stream": bool(body.get("stream")), "left": False, "end": None}
        CALLS.append(call)
        end = time.time() + 3
        while time.time() < end:
            ready, _, _ = select.select([self.connection], [], [], 0.05)
            if ready and not self.connection.recv(1, socket.MSG_PEEK):
                call["left"] = True
                return
        call["end"] = time.time()
        choice = {"index": 0, "message": {"role": "assistant", "content": "It is 4."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def serve() -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", 8766), Model)
PY

cat > finding.py <<'PY'
import http.client
import json
import threading
import time

import model

threading.Thread(target=model.serve().serve_forever, daemon=True).start()


def post(stream: bool) -> http.client.HTTPConnection:
    body = {"model": "none-m", "messages": [{"role": "user", "content": "What is 2 + 2?"}], "stream": stream}
    link = http.client.HTTPConnection("127.0.0.1", 8765, timeout=60)
    link.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    return link


for _ in range(600):
    try:
        link = post(stream=True)
        break
    except ConnectionRefusedError:
        time.sleep(0.2)
reply = link.getresponse()
text = b""
while b"4." not in text:
    piece = reply.read1()
    assert piece, text
    text += piece
    if b"content" in text and model.CALLS[0]["end"] is None:
        raise SystemExit("text came before the model's end")
asked = "yes" if model.CALLS[0]["stream"] else "no"
print(f"the model is asked for a stream: {asked}; first bytes of text after the model's end: yes")
link.close()

left = [post(stream=True), post(stream=False)]
time.sleep(1)
for link in left:
    link.close()
time.sleep(5)
calls = model.CALLS[1:]
early, whole = sum(c["left"] for c in calls), sum(c["end"] is not None for c in calls)
print(f"calls whose clients left after 1 s of 3: {len(calls)}; ended early: {early}, run to their end: {whole}")
assert (asked, len(calls), early, whole) == ("no", 2, 0, 2)
PY
OPENAI_API_KEY=none python -c 'from optillm.server import main; main()' --approach none \
  --base-url http://127.0.0.1:8766/v1 --port 8765 > log 2>&1 &
proxy=$!
python finding.py
