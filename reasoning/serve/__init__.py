"""The strategies of a recipe behind an endpoint that speaks OpenAI's protocol (extra `serve`).

`offers` are the strategies, `asking` reads what a client asks for, `searching` runs it on a
`reasoning.Session`, `wording` says what came of it, `streams` while it comes; `desk` lets clients
in, `app` puts these together and `running` listens.
"""
