"""A small but true host app: tenants send invoices, workers read them, the records end processed or in error.

`payloads` is what the API and the workers share; `api` is all that the API's process imports; `processors` runs in
workers; `infrastructure` is how workers reach the world; `outside` is that world, as real servers on loopback.
"""
