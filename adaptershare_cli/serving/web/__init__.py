"""A loaded run over HTTP. Apart from `server` and `app` nothing here knows how requests come."""
