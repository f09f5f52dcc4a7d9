"""How requests come in and replies go out: the WSGI server, TLS, bodies, JSON shapes, the page, OpenAPI."""
