"""What a report says and the exact bytes that are signed."""
