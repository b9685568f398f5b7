"""What measures: runs in rounds, rows, tables and pictures."""
