"""Programs of prompts as data: what they may say, how it is checked, and what it means.

All of it is pure. `statements` says what a program may be, `values` what its names stand for,
`parsers` how replies become values, `operations` what is computed of values, `conditions` what is
asked of them; `checks` refuses programs that could go wrong, `bounds` counts their calls.
"""
