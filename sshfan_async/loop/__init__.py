"""The event loop: where coroutines run, timers, and work that must be finished. Private."""
