"""Sound in, shards out: plain steps over records, CPU only, callable from a test or a REPL."""
