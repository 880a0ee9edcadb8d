"""Hot paths: a module with its benches and its allocation test, added and removed together."""
