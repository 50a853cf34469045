"""The six stages: each reads artefacts, calls the core and publishes an artefact."""
