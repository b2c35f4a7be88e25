"""What must hold in every run. Each check is a function: it reads one run, in bounded memory, and yields findings."""
