"""The forward process: schedules, noise, masks and the training loss."""
