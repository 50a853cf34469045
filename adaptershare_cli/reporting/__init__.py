"""Tables, pictures and the page that show results. Values in, text or picture files out."""
