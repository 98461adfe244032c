"""What the fields of a recipe mean: the words of docs/recipes.md, see `reasoning.runs.fields`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Stated: TypeAlias = Sequence[tuple[str, str, str]]
"""Fields that no class declares: name, what it takes, default."""

SHORT: Stated = [
    ("searcher", "text", ""),
    ("stages", "list", ""),
    ("aggregator", "text or mapping", ""),
    ("params", "mapping", ""),
]
STAGE: Stated = [
    ("searcher", "text", ""),
    ("aggregator", "text", ""),
    ("params", "mapping", ""),
    ("share", "number, above 0, up to 1", ""),
]
MODEL: Stated = [("name", "text", "required"), ("parameters", "number, above 0", "")]
VERIFIER: Stated = [*MODEL, ("reduction", "last, min, prod, mean", "its own")]

TITLES: Mapping[str, str] = {
    "recipe": "The recipe",
    "strategy": "A strategy",
    "stage": "A stage",
    "generator": "A generator",
    "verifier": "A verifier",
    "task": "The task",
    "sampling": "sampling",
    "step": "step",
    "limits": "limits and run_limits",
    "prices": "prices",
    "workers": "workers",
}

ABOUT: Mapping[str, str] = {
    "recipe": "The keys of the file. Others are refused, with the nearest one that there is.",
    "strategy": "An entry of `strategies`. What stands beside these is a parameter of the searcher "
    "(`reasoning list searchers`); a list gives one strategy for each of its values.",
    "stage": "An entry of `stages`: a name (`majority`), a name with its parameters "
    "(`self_consistency: {n: 16, share: 0.5}`), or the fields below with the parameters beside "
    "them, as code of your own has to be stated (`{searcher: my.module:mine, n: 16}`). The first "
    "is a searcher; each gets what the one before it gave.",
    "generator": "`generator`, or an entry of `models`: a name, or a mapping with these and the "
    "generator's own options (`reasoning list generators`).",
    "verifier": "`verifier`, or an entry of `verifiers`: a name, or a mapping with these and the "
    "verifier's own options (`reasoning list verifiers`).",
    "task": "`task`: a name, or a mapping with these. `reasoning list tasks` says which task takes "
    "which, [tasks](tasks.md) what a prompt may be, [grading](grading.md) what answers are.",
    "sampling": "How a model is asked. What is left out is the generator's own, if it has one, "
    "else as below, with 1,024 tokens. Every field is sent, at its neutral value too, and one that "
    "the generator cannot honour is refused before anything is spent.",
    "step": "What ends one step, for strategies that go on from steps.",
    "limits": "What one search, a strategy on a problem, may spend; under `run_limits` all of them "
    "together, but for `seconds`, which only a search can have. Left out, there is no limit. A run "
    "that goes on has as much less of its `run_limits` as its stored searches have spent.",
    "prices": "By the name of a model in `models`, or `default` for all others: what it costs, per "
    "million tokens. With prices there is money in the results, unless a model was asked whose "
    "price is not known; under a limit of money every model needs one.",
    "workers": "A number, which is `n`, or a mapping with these; see [a run on a cluster]"
    "(cluster.md). They are no part of what identifies a run: it may go on with more, fewer or "
    "none.",
}

MEANINGS: Mapping[str, Mapping[str, str]] = {
    "recipe": {
        "name": "of the run and its folder; a recipe's file gives it its own name",
        "description": "for readers",
        "task": "the problems, see below",
        "generator": "the model: a name, a mapping with its options, or a name of `models`",
        "models": "further models by name, which a strategy may ask for",
        "verifier": "who scores, where no verifier is named",
        "verifiers": "further verifiers by name, which a strategy may ask for",
        "prices": "what models cost, see below",
        "strategies": "what is compared, see below",
        "sampling": "how models are asked, see below",
        "step": "what ends a step, see below",
        "limits": "for each problem and strategy, see below",
        "run_limits": "for all problems and strategies together",
        "concurrency": "calls of models in flight at once; as many problems are in progress as it "
        "takes",
        "share_samples": "whether strategies share what is drawn, in virtual time; left out: if "
        "there are several, none has a limit in seconds and no model is a recording",
        "seed": "of everything that is drawn at random",
        "sweep": "dotted keys with lists of values: every strategy under each combination",
        "workers": "processes on a Ray cluster that share the problems, see below",
        "track": "whom the command line tells how far a run is: wandb, mlflow, trackio",
        "searcher": "short for one strategy, in place of `strategies`",
        "stages": "the same, for a chain of stages",
        "aggregator": "of that one strategy",
        "params": "the parameters of that one strategy's searcher",
    },
    "strategy": {
        "searcher": "who draws: a name, or `package.module:function`",
        "stages": "in place of `searcher`: a chain of searchers and aggregators, see below",
        "name": "in tables; left out, it is made of the searcher and what was set",
        "aggregator": "who chooses, a name or a mapping with its options; a list: one strategy "
        "each; left out: the searcher's",
    },
    "stage": {
        "searcher": "the stage's name, where it draws",
        "aggregator": "the stage's name, where it keeps or chooses",
        "params": "its parameters, which may stand beside it just as well",
        "share": "the fraction of the tokens left that it may spend; what it leaves goes on",
    },
    "generator": {
        "name": "of a file, or `package.module:function`",
        "parameters": "how many the model has, say 7e9, to count operations; where it does not "
        "say so itself",
    },
    "verifier": {
        "name": "of a file, or `package.module:function`",
        "parameters": "as a generator's",
        "reduction": "what makes one score of a path out of those of its steps",
    },
    "task": {
        "name": "of a file, or `package.module:function`",
        "path": "a local file, .jsonl, .json, .csv or .parquet; where a task has data of its own, "
        "in its place",
        "prompt": "the user message, with fields of the rows in braces; or a conversation",
        "system": "the system message, with fields in braces too",
        "limit": "the first problems only",
        "id_field": "what the rows call it (jsonl)",
        "question_field": "what the rows call it (jsonl)",
        "answer_field": "what the rows call it (jsonl)",
        "fields": "what the rows call what a kind of answers reads: {tests: asserts, options: "
        "alternatives} (jsonl)",
        "answers": "the kind: math, choice, code, exact, number, text, plain, or {kind: ..., with "
        "its options}",
        "fallback": "how a finished text with neither a box nor a #### line is searched; left "
        "out: as suits the task and the kind of answers",
        "where": "which rows: fields and a value, a list of values, or {from: ..., to: ...}",
        "shuffle": "the seed by which the options of each problem stand in another order",
        "private": "store no questions with a run, and show no texts in its report",
        "revision": "of the data on the hub",
        "n": "how many problems are made (nano, nano_think, countdown, kolmogorov)",
        "split": "train is what the embedded model was trained on (nano, nano_think)",
        "seed": "of the problems (nano, nano_think, countdown, kolmogorov), or of their wordings "
        "(perturbed)",
        "size": "bytes a problem (kolmogorov)",
        "numbers": "how many are given (countdown)",
        "task": "another one, a name or a mapping: whose problems are asked together (rest), whose "
        "contexts are thought about (contexts), that is asked in other words (perturbed), or that "
        "is read (shards)",
        "field": "what the rows call the context (contexts)",
        "stress": "how many are asked in one prompt, or a list of such levels (rest)",
        "kinds": "of wordings: irrelevant, instruction, needless, both, attack (perturbed)",
        "orders": "of premises: Kendall taus from their own, -1 to below 1 (perturbed)",
        "paraphrases": "a .jsonl file of {id, paraphrases: [...]} (perturbed)",
        "shards": "how many, of neighbours in the file (shards)",
        "gold": "whether right answers are read along with the problems (shards)",
        "by": "what answers which question: the order of boxes, or labels before them (rest)",
        "once": "ask every problem in one prompt only, in groups (rest)",
        "difficulty": "operations of every problem, 1 to 8; left out: mixed (nano, nano_think)",
    },
    "sampling": {
        "max_tokens": "of a whole solution, over all its steps",
        "temperature": "0 is greedy",
        "top_p": "of the likeliest tokens that have this much probability; 1 is off",
        "top_k": "of so many likeliest tokens; 0 is off",
        "stop": "texts that end a sample; they stay in it",
        "confidence_k": "log-probabilities behind the confidence of a token (DeepConf); 0 is off",
        "top_logprobs": "likeliest tokens kept of each position; 0 is off",
        "min_p": "of tokens at least so likely beside the likeliest; 0 is off",
        "min_tokens": "before anything may end the sample",
        "presence_penalty": "as vLLM's; 0 is none",
        "frequency_penalty": "as vLLM's; 0 is none",
        "repetition_penalty": "as vLLM's; 1 is none",
        "logit_bias": "added to the logits of tokens, by id or by text where that is one token",
        "choice": "the sample is one of these texts",
        "regex": "the sample fits this expression",
        "json_schema": "the sample is JSON of this schema; one of these three at most",
        "tools": "offered to the model by OpenAI's own fields: {tools: [...], tool_choice: auto, "
        "parallel_tool_calls: true} (generator openai)",
    },
    "step": {
        "stop": "texts that end a step",
        "max_tokens": "of a step",
    },
    "limits": {
        "tokens": "generated, by whatever model; [how](concepts.md#how-tokens-are-counted)",
        "verifier_calls": "scores asked for, retries included",
        "seconds": "of real time, then it is chosen from what has been put forward; not in "
        "`run_limits`",
        "calls": "of models, retries included, and the parts of an answer that a limit divides",
        "money": "in the unit of the prices, which must be there",
    },
    "prices": {
        "input": "for prompt tokens",
        "output": "for generated tokens",
        "cached": "for prompt tokens found in a cache; left out: as `input`",
    },
    "workers": {
        "n": "how many",
        "num_gpus": "that each asks the cluster for; left out: as many as the engines in its "
        "process need",
        "num_cpus": "that each asks the cluster for",
        "at_once": "problems that each has in progress at most; left out: as many as it takes for "
        "`concurrency` calls in flight",
        "patience": "seconds after which a worker that says nothing is given up",
        "address": "of the cluster; left out: what RAY_ADDRESS says, or the one on this machine; "
        "`local` starts one for the run",
    },
}

BEFORE = """# Recipes

<!-- Made by `python -m reasoning.runs.fields > docs/recipes.md`; a test compares. -->

Every field of a recipe. `reasoning list recipe` shows the same in a terminal, `reasoning check`
what a recipe of yours would run. Change any of them for one run with `--set`, dots leading inwards:
`--set limits.tokens=2000 --set strategies.0.n=8`.

```yaml
task: {name: nano, n: 20}
generator: large                   # the one that is meant where no name is given
models: {large: nano, small: nano}
verifier: nano_prm
strategies:
  - {searcher: best_of_n, n: [4, 16], aggregator: {name: best_of_majority, alpha: 0.2}}
  - name: filtered
    stages:
      - self_consistency: {n: 16, share: 0.5}
      - deepconf_filter: {keep: 0.5}
      - majority
sampling: {temperature: 0.8, confidence_k: 20}
prices: {default: {input: 0.2, output: 0.6}}
limits: {tokens: 20000, money: 0.01}
run_limits: {tokens: 1000000}
sweep: {sampling.temperature: [0.6, 0.9]}
seed: 0
```"""

AFTER = """## Sweeps and lists

A list in a strategy's parameters gives one strategy for each value (where the parameter is not
itself a list), `sweep` every strategy under each combination of its values: `limits.tokens: [500,
2000]`, `verifier.reduction: [last, min]`, `generator: [nano, ...]`. A sweep cannot change the task
or the strategies. Both multiply; 10,000 strategies are the most.

## Consent

Names with a colon, `package.module:function`, are imported and called. A recipe that does so, has
an engine load code, writes a file (`journal`) or sends a key to another machine is asked about
first: [the command line](../README.md#on-the-command-line)."""
