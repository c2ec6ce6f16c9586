"""What a person asks for at the command line, and what he is shown: orders, plans, views."""
