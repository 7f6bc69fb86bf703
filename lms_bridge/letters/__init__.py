"""Account letters on paper: whom to print one for, and the PDF."""
