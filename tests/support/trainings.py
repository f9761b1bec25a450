"""Trainings that are cut short."""


def before(training, step, action):
    """Do something just before that step."""
    plain = training._step

    def stepping(number):
        if number == step:
            action(training)
        plain(number)

    training._step = stepping


def interrupt(training):
    raise KeyboardInterrupt
