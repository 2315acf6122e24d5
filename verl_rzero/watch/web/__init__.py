"""<run>/report.html: a run as one file to look at in a browser, without any network.

`page` makes the page of a run, `comparison` that of several. Python draws everything that is read (`story`, `charts`,
`tables`); the browser's script only serves the questions, which lie in the page as compressed blocks (`pack`).
"""
