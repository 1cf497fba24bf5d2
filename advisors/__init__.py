"""WHO: firms, the people in them, the clients they answer for, access, audit and exports."""
