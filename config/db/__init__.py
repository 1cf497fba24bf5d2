"""The database backend that carries the scope, and the wall it is checked against."""
