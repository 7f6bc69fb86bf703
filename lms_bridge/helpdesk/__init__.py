"""What the help desk and sponsors do: decide on requests for accounts, invite people."""
