"""Durable ground: database, transactions with an event outbox, timers, jobs, chunks and content-addressed blobs."""
