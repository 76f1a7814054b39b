"""The pytest plugin. Every pytest run on the machine loads it, so that it imports nothing heavy."""
