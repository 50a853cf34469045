"""How matrices over tasks are summarised, compared and tested."""
