"""The code that only pages of the book need."""
