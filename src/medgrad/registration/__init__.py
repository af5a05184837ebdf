"""Two images lined up by descent on the transform."""
