"""One training, from artefacts to an artefact."""
