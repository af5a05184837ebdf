"""From a trained network to a written answer, without torch: sliding windows, decoding, artefacts."""
