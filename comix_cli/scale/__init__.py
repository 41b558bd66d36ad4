"""Work spread over processes of one machine, or over the workers of a Dask cluster."""
