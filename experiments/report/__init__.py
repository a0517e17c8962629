"""What is shown of runs: tables and plots."""
