"""WHO WAS TOLD: rules, triggers, episodes and delivery."""
