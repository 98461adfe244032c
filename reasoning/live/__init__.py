"""What people look at while it runs: `reasoning watch`, and the page of `reasoning serve`.

`board` knows the searches of this process and `nodes` their trees, `feed` writes them into a run's
folder, `folder` reads them there; `view` says what a page shows, and `site` sends it.
"""
