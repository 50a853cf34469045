"""AdapterShare: find out which NLP tasks should share adapters of one frozen encoder, and train accordingly."""

__version__ = "0.1.0"
