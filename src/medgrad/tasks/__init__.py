"""Floor 3: one problem a file, told in seven verbs."""
