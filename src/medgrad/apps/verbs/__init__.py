"""The commands, one per file, each a plain function and a command of the same name."""
