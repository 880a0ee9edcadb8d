"""The commands, a module each: they read the arguments, call the domain, and print."""
