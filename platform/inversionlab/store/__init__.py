"""Where results are kept: files in a folder or bucket, Parquet tables, leases."""
