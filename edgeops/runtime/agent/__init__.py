"""The agent: fetches what a channel offers, proves it, switches to it and back."""
