"""The only door to Redis.

Everything jobkit keeps there is named in `keys`, written and read in `codec`, and moved by one Lua script a
transition (`scripts/`). `operations` are a client's calls, `claims` and `channel` a worker's, `sweeps` anybody's,
`presence` and `inspection` what RQ's tools and operators see.
"""

from jobkit.store.connection import Operation, Store

__all__ = ["Operation", "Store"]
