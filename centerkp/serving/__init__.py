"""Pictures that come over HTTP -> objects, as JSON and on a page.

A detector goes in; what comes out is a web server for this machine, whose answers are those of `centerkp.predict`.
"""
