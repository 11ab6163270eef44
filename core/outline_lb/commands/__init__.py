"""The subcommands, a file each: `add` describes the arguments, `execute` does the work and returns the exit code.

What a command needs is imported when it is executed, so that ``--help`` costs nothing.
"""
