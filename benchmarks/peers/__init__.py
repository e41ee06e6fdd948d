"""The systems that are measured, each as a producer and a worker. Runs in each peer's own environment, without jobkit.

A module here has a class `Client` with `open`, `enqueue(job, data)`, `close`, and where the library has a bulk call
`bulk(job, many)`: all plain functions, or all coroutines. Where the library has no program that runs a worker, it has a
function `work(variant)` besides.
"""
