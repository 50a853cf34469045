"""What kinds of task build on: values and their faults, tokens, words, and what a head answers for rows."""
