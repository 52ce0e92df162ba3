"""To whom a report may go, how often, and by what way."""
