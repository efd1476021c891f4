"""Ray jobs: work over all channels that is submitted and left alone; each may be killed and started again.

analyticbot jobs submit nightly
ray job submit -- python -m cluster.jobs.nightly        (RAY_API_SERVER_ADDRESS and the token set)
"""
