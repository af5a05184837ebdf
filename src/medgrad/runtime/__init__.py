"""What a trained network is answered with where there is no torch: an artefact, an engine, numpy."""
