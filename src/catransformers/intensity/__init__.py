"""Grid carbon intensity, now and forecast: clients of services, hourly profiles, carbon-aware scheduling.

Nothing here speaks to the network unless a source was named. Keys come from the environment and go to their service
alone: never into a file, a message or the cache.
"""
