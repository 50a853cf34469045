"""One thin file a command: read artefacts, call, publish."""
