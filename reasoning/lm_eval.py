"""lm-eval's command line with our model in it: `python -m reasoning.lm_eval run --model reasoning`.

lm-eval finds no model of others by itself, so this imports ours and hands over.
"""

from __future__ import annotations

import sys

from reasoning.errors import EngineError, UserError
from reasoning.integrations import needed


def main() -> None:
    """What `lm-eval` does. A mistake in what was asked for is one line, exit code 2 (3: engine)."""
    try:
        needed("lm_eval", "this command", "reasoning[lm-eval]")
        needed("reasoning.integrations.lm_eval_model", "this command", "reasoning[lm-eval]")
        needed("lm_eval.__main__", "this command", "reasoning[lm-eval]").cli_evaluate()
    except (UserError, EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 3)
    finally:
        from reasoning.integrations.strategies import Aside

        for aside in [*Aside.open]:
            aside.close()


if __name__ == "__main__":
    main()
