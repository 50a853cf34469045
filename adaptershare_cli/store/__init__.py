"""Where artefacts live and what is in them."""
