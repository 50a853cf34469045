"""The program from Python: workspaces, runs and what they know, as objects and frames. See docs/python.md.

It stands above the command line and calls the same commands, so that options, checks, messages and artefacts are the
same.
"""
