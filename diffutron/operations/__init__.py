"""What keeps runs going: servers, guards, explanations, cleaning, reproduction."""
