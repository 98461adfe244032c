"""A llama.cpp server in a process of its own: python llama_cpp_server.py MODEL.gguf PORT."""

from __future__ import annotations

import signal
import sys

import xllamacpp

CONTEXT = 1024
SLOTS = 8


def main(model: str, port: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"nano"}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # others need cores, too
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)  # its threads serve until it is dropped
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
