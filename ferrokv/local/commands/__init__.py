"""Redis semantics: a command is a plain function of a view (an operation) or of a write transaction."""
