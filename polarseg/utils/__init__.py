"""Small helpers without a better room."""
