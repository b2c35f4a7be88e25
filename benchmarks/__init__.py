"""Where the figures come from; each file is one command."""
