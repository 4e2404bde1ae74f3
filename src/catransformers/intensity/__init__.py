"""How dirty the grid is now and soon: clients of services that forecast it, and what they said before.

Nothing here speaks to the network unless a source was named. Keys come from the environment and go to their service
alone: never into a file, a message or the cache.
"""
