"""One problem a file, told in seven verbs."""
