"""What operators see of a running host: log lines and metrics."""
